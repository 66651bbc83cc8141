"""Where a scorer comes from: fitted, read from its file whole or without its text tower, or published."""

import json

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from scorer_helpers import SETTINGS, pairs

from alchemist.core.refusal import Refusal
from alchemist.measures.clip_score import embed_captions, remember, score
from alchemist.measures.scorers import CONFIG, fit_lit, load_lit, load_published, load_scorer, save_lit


def test_the_scorer_comes_back_from_its_file_unchanged(scorer, held_out, tmp_path):
    scorer.embedded.clear()
    images, captions = held_out[0][:20], held_out[1][:20]
    save_lit(scorer, tmp_path)
    again = load_scorer("lit", tmp_path)
    assert np.array_equal(score(again, images, captions, 20), score(scorer, images, captions, 20))
    assert str(tmp_path) not in (tmp_path / CONFIG).read_text()
    assert "site-packages" not in (tmp_path / CONFIG).read_text()  # a file that any machine can read


def test_for_captions_that_are_remembered_the_text_tower_stays_in_its_file(scorer, held_out, tmp_path):
    images, captions = held_out[0][:20], held_out[1][:20]
    save_lit(scorer, tmp_path)
    half = load_scorer("lit", tmp_path, captions=False)
    remember(half, captions, embed_captions(scorer, captions, 20).numpy())
    assert np.array_equal(score(half, images, captions, 20), score(scorer, images, captions, 20))
    assert set(half.model.state_dict()) == {n for n in scorer.model.state_dict() if not n.startswith("text.")}
    with pytest.raises(AssertionError, match="not remembered"):
        score(half, images, [*captions[1:], "a caption of no prompt"], 20)


def test_fitting_is_a_function_of_seed_and_pairs_in_batches_or_not_and_leaves_torch_alone():
    images, captions = pairs("small", 60)
    settings = SETTINGS.model_copy(update={"steps": 5, "batch": 32})
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = fit_lit([images], captions, settings)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(99)
    weights = [m.model.visual.head.proj.weight for m in (first, fit_lit([images], captions, settings))]
    assert torch.equal(*weights)
    passing = fit_lit(iter([images[:50], images[50:]]), captions, settings)
    assert torch.equal(weights[0], passing.model.visual.head.proj.weight)
    other = fit_lit([images], captions, settings.model_copy(update={"seed": 1}))
    assert not torch.equal(weights[0], other.model.visual.head.proj.weight)


def test_only_the_projections_and_the_scale_are_trained(scorer):
    from alchemist.measures.features import lite0
    from alchemist.models.text_towers import load_minilm

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
    alike, told_apart = (fit_lit([images], words, settings).model for words in (["a picture"] * 40, captions))
    start = np.log(1 / 0.07)
    assert alike.logit_scale.item() == pytest.approx(start, abs=1e-6)
    assert abs(told_apart.logit_scale.item() - start) > 1e-5


def test_too_few_pairs_are_refused(held_out):
    images, captions = held_out
    with pytest.raises(Refusal, match=r"scorer\.batch is 128, and there are 100 pairs"):
        fit_lit([images], captions, SETTINGS)


def test_a_folder_without_a_scorer_is_refused(tmp_path):
    with pytest.raises(Refusal, match="run the stage scorer"):
        load_lit(tmp_path)


# --- published models ---


@pytest.fixture
def unreachable(tmp_path, monkeypatch, no_network):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("unreachable")
def test_a_published_clip_out_of_reach_is_one_sentence_at_once(tmp_path, capfd):
    with pytest.raises(
        Refusal,
        match=r"ViT-L-14/openai.*huggingface\.co.*evaluate\.weights\.clip.*set evaluate\.clip to lit\.$",
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


# --- published models of a file ---


@pytest.fixture
def tiny_clip(tmp_path, monkeypatch):
    """A tiny CLIP under a published name whose own place is out of reach, to be written to a file."""
    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    }
    (tmp_path / "tiny-file.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-file.json")
    card = {"url": "https://nowhere.invalid/w.pt", "mean": (0.5,) * 3, "std": (0.25,) * 3, "quick_gelu": True}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-file", {"here": card})
    torch.manual_seed(3)
    model = open_clip.create_model("tiny-file", force_quick_gelu=True).eval()
    return model, tmp_path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_a_published_clip_is_read_from_a_file(name, tiny_clip, held_out):
    """Raw cosines of the file's own weights, with the card's normalisation and OpenAI's activation."""
    model, folder = tiny_clip
    state = model.state_dict()
    if name == "w.pt":  # OpenAI's file says its sizes too, in half precision
        state = {k: v.half() for k, v in state.items()} | {"input_resolution": torch.tensor(32)}
        torch.save(state, folder / name)
        model.load_state_dict({k: v.float() for k, v in state.items() if k != "input_resolution"})
    else:
        save_file({k: v.contiguous() for k, v in state.items()}, folder / name)
    scorer = load_scorer("tiny-file/here", folder, place=str(folder / name))
    images, captions = held_out[0][:6], held_out[1][:6]
    found = score(scorer, images, captions, 4)
    x = torch.stack([torch.from_numpy(image).permute(2, 0, 1) / 255 for image in images])
    pieces = open_clip.get_tokenizer("tiny-file")(captions)
    with torch.no_grad():
        a, b = model.encode_image((x - 0.5) / 0.25), model.encode_text(pieces)
    wanted = torch.cosine_similarity(a, b).numpy()
    assert found == pytest.approx(wanted, abs=1e-5)
    assert (found < 0).any() or found.std() > 0, "neither cut at 0"
    assert np.abs(found).max() <= 1, "nor times 100"


def test_a_caption_is_cut_at_77_pieces(tiny_clip):
    """What stands behind does not count, and a caption of any length is no mistake."""
    model, folder = tiny_clip
    torch.save(model.state_dict(), folder / "w.pt")
    scorer = load_published("tiny-file/here", place=str(folder / "w.pt"))
    long = "red fox " * 60
    rows = embed_captions(scorer, [long, long + "and a whale", "a whale"], 3)
    assert scorer.pieces([long]).shape == (1, 77)
    assert torch.equal(rows[0], rows[1])
    assert not torch.allclose(rows[0], rows[2], atol=1e-3)


def test_a_file_of_another_clip_is_one_sentence(tiny_clip):
    model, folder = tiny_clip
    state = model.state_dict()
    torch.save(state | {"visual.proj": torch.zeros(64, 17)}, folder / "w.pt")
    with pytest.raises(
        Refusal, match=r"evaluate\.weights\.clip is .*has visual\.proj of the shape \(64, 17\)"
    ):
        load_published("tiny-file/here", place=str(folder / "w.pt"))
    with pytest.raises(Refusal, match=r"evaluate\.weights\.clip is 'none\.pt', which does not exist"):
        load_published("tiny-file/here", place="none.pt")


def test_the_papers_clip_has_its_published_sizes():
    """ViT-L/14: 428 M parameters, 224 px, 77 pieces; on the device meta."""
    with torch.device("meta"):
        model = open_clip.create_model("ViT-L-14", force_quick_gelu=True, device="meta")
    assert sum(value.numel() for value in model.parameters()) == 427_616_513
    assert model.visual.image_size in (224, (224, 224))
    assert model.context_length == 77


def test_a_fit_that_is_no_number_any_more_is_told_with_its_step() -> None:
    images, captions = pairs("scorer", 40)
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30, "steps": 3, "batch": 16})
    words = r"the scorer's fit is not finite from step 3 on; scorer\.learning_rate is 1e\+30, try a smaller"
    with pytest.raises(Refusal, match=words):
        fit_lit([images], captions, wild)
