"""The LiT scorer tells pairs from other pairs, and every scorer scores a pair without its neighbours."""

import json
from dataclasses import replace

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image, ImageFilter

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.measures.clip_score import (
    CONFIG,
    embed_captions,
    figures,
    fit_lit,
    load_lit,
    load_published,
    load_scorer,
    remember,
    save_lit,
    score,
)  # fmt: skip
from alchemist.pools.emoji import compose
from alchemist.settings.evaluation import ScorerSettings

SETTINGS = ScorerSettings(image_size=64, embed_dim=64, steps=120, batch=128, learning_rate=2e-3, seed=0)


def pairs(stream, count):
    made = [compose(7, stream, i, {"informative": 1.0}, 24, 32) for i in range(count)]
    return np.stack([pair.image for pair in made]), [pair.caption for pair in made]


@pytest.fixture(scope="module")
def held_out():
    return pairs("held out", 100)


@pytest.fixture(scope="module")
def scorer():
    return fit_lit(*pairs("scorer", 600), SETTINGS)


def blurred(images, radius):
    return np.stack([np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(radius))) for x in images])


def test_a_pair_scores_above_other_captions_blur_and_noise(scorer, held_out):
    """By the mean, and for nearly each pair on its own."""
    images, captions = held_out
    real = score(scorer, images, captions, 50)
    noise = stateless.generator("noise", 0).integers(0, 256, images.shape, dtype=np.uint8)
    for name, lesser in {
        "shuffled": score(scorer, images, captions[7:] + captions[:7], 50),
        "blurred": score(scorer, blurred(images, 3), captions, 50),
        "noise": score(scorer, noise, captions, 50),
    }.items():
        assert real.mean() > lesser.mean() + 20, name
        assert (real > lesser).mean() > 0.9, name
    assert 100 >= real.max() > real.mean() > 40


def test_the_score_falls_with_blur_step_by_step(scorer, held_out):
    images, captions = held_out
    means = [score(scorer, blurred(images, radius), captions, 50).mean() for radius in (0, 1, 2, 4)]
    assert means == sorted(means, reverse=True)


def test_the_wrong_object_costs_more_than_the_wrong_place(scorer, held_out):
    """A score that reads the caption: another object, colour kept, is worse than another place."""
    images, captions = held_out
    plain = [i for i, c in enumerate(captions) if " and " not in c and " on a" in c]
    right = [captions[i].split(" background")[0] + " background" for i in plain]
    other = ["a pizza on" + c.split(" on", 1)[1] if "pizza" not in c else "a fox on" + c.split(" on", 1)[1]
             for c in right]  # fmt: skip
    placed = [f"{c} at the top" for c in right]
    by = {name: score(scorer, images[plain], words, 50).mean()
          for name, words in (("right", right), ("other", other), ("placed", placed))}  # fmt: skip
    assert by["right"] > by["other"] + 10
    assert by["placed"] > by["other"]


@pytest.fixture(params=[1, 2])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_a_score_depends_on_its_own_pair_alone(scorer, held_out):
    """To a thousandth of a point: captions and projections are float32, and each image is convolved alone."""
    images, captions = held_out
    scorer.embedded.clear()
    whole = score(scorer, images, captions, 100)
    order = np.random.default_rng(0).permutation(len(captions))[:50]
    for batch in (1, 7, 16, 33, 50, 64):
        scorer.embedded.clear()
        part = score(scorer, images[order], [captions[i] for i in order], batch)
        assert np.abs(part - whole[order]).max() < 1e-3


def test_each_caption_is_embedded_once(scorer):
    scorer.embedded.clear()
    rows = embed_captions(scorer, ["a fox", "a crab on a red background", "a fox"], 2)
    assert len(scorer.embedded) == 2
    assert torch.equal(rows[0], rows[2])
    assert torch.allclose(rows.norm(dim=1), torch.ones(3), atol=1e-5)


def test_embeddings_made_elsewhere_score_the_same_without_a_look_at_the_captions(scorer, held_out):
    images, captions = held_out
    own = replace(scorer, embedded={})
    vectors = embed_captions(own, captions, 50).numpy()

    def no_pieces(captions):
        raise AssertionError("embedded again")

    other = replace(own, pieces=no_pieces, embedded={})
    remember(other, captions, vectors)
    assert np.array_equal(score(other, images, captions, 50), score(own, images, captions, 50))
    with pytest.raises(Refusal, match="99 embeddings are no embeddings of 100 captions; run dvc repro"):
        remember(other, captions, vectors[1:])


def test_the_scorer_comes_back_from_its_file_unchanged(scorer, held_out, tmp_path):
    images, captions = held_out[0][:20], held_out[1][:20]
    save_lit(scorer, tmp_path)
    again = load_scorer("lit", tmp_path)
    assert np.array_equal(score(again, images, captions, 20), score(scorer, images, captions, 20))
    assert str(tmp_path) not in (tmp_path / CONFIG).read_text()
    assert "site-packages" not in (tmp_path / CONFIG).read_text()  # a file that any machine can read


def test_fitting_is_a_function_of_seed_and_pairs_and_leaves_torch_alone():
    images, captions = pairs("small", 60)
    settings = SETTINGS.model_copy(update={"steps": 5, "batch": 32})
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = fit_lit(images, captions, settings)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    weights = [m.model.visual.head.proj.weight for m in (first, fit_lit(images, captions, settings))]
    assert torch.equal(*weights)
    other = fit_lit(images, captions, settings.model_copy(update={"seed": 1}))
    assert not torch.equal(weights[0], other.model.visual.head.proj.weight)


def test_only_the_projections_and_the_scale_are_trained(scorer):
    from alchemist.measures.features import lite0
    from alchemist.models.text import load_minilm

    packaged = lite0().state_dict()
    ours = scorer.model.visual.trunk.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in packaged.items())
    theirs = load_minilm()[1].state_dict()
    ours = scorer.model.text.transformer.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_equal_captions_are_no_negatives():
    """With one caption for all there is nothing to tell apart, hence nothing to learn."""
    images, captions = pairs("twins", 40)
    settings = SETTINGS.model_copy(update={"batch": 32, "steps": 3})
    alike, told_apart = (fit_lit(images, words, settings).model for words in (["a picture"] * 40, captions))
    start = np.log(1 / 0.07)
    assert alike.logit_scale.item() == pytest.approx(start, abs=1e-6)
    assert abs(told_apart.logit_scale.item() - start) > 1e-5


def test_figures_are_means_of_the_scores(scorer, held_out):
    told = figures(scorer, *held_out, seed=0, batch=50)
    assert told["real"] == pytest.approx(score(scorer, *held_out, 50).mean())
    assert told["real"] > told["blurred"] > told["noise"]
    assert set(told) == {"real", "shuffled", "blurred", "noise", "white"}


def test_too_few_pairs_and_pairs_that_do_not_match_are_refused(scorer, held_out):
    images, captions = held_out
    with pytest.raises(Refusal, match=r"100 pairs.*scorer\.batch is 128"):
        fit_lit(images, captions, SETTINGS)
    with pytest.raises(Refusal, match="100 images and 99 captions"):
        score(scorer, images, captions[1:], 10)


def test_a_folder_without_a_scorer_is_refused(tmp_path):
    with pytest.raises(Refusal, match="run the stage scorer"):
        load_lit(tmp_path)


# --- published models ---


@pytest.fixture
def unreachable(tmp_path, monkeypatch):
    from huggingface_hub import constants

    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("unreachable")
def test_a_published_clip_out_of_reach_is_one_sentence_at_once(tmp_path, capfd):
    with pytest.raises(
        Refusal, match=r"ViT-L-14/openai.*huggingface\.co.*set evaluate\.clip to lit\.$"
    ) as told:
        load_scorer("ViT-L-14/openai", tmp_path)
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")  # no retries, no warnings


@pytest.mark.parametrize("name", ["ViT-L-14/opena", "ViT-L-15/openai"])
def test_an_unknown_published_clip_is_refused_before_any_download(name):
    with pytest.raises(Refusal, match="which open_clip does not know"):
        load_published(name)


@pytest.mark.usefixtures("unreachable")
def test_the_same_call_serves_a_published_clip(tmp_path, monkeypatch, held_out):
    """A tiny CLIP under a published name, its weights already here: raw cosines, of its own pair alone."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-clip.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-clip.json")
    torch.save(open_clip.create_model("tiny-clip").state_dict(), tmp_path / "weights.pt")
    card = {"file": str(tmp_path / "weights.pt"), "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-clip", {"here": card})
    published = load_scorer("tiny-clip/here", tmp_path)
    images, captions = held_out
    values = score(published, images, captions, 50)
    assert np.abs(values).max() <= 1
    assert values.std() > 0
    published.embedded.clear()
    assert np.allclose(score(published, images[::-1], captions[::-1], 9), values[::-1], atol=1e-5)
    # OpenAI's weights were trained with QuickGELU, which their plain names do not ask for.
    assert any(type(part).__name__ == "QuickGELU" for part in published.model.modules())
    tokens = open_clip.get_tokenizer("tiny-clip")(captions[:1])
    image = published.preprocess(Image.fromarray(images[0]))[None]
    with torch.no_grad():
        a, b = published.model.encode_image(image), published.model.encode_text(tokens)
    assert torch.cosine_similarity(a, b).item() == pytest.approx(values[0], abs=1e-5)
