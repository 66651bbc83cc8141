"""The LiT scorer tells pairs from other pairs, and every scorer scores a pair without its neighbours."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.measures.clip_score import embed_captions, embed_images, examine, remember, score, told_apart


@pytest.fixture(scope="module")
def examined(scorer, held_out):
    return examine(replace(scorer, embedded={}), [held_out[0]], held_out[1], seed=0, batch=50)


@pytest.fixture(scope="module")
def real(scorer, held_out):
    return score(scorer, *held_out, 50)


@pytest.fixture(scope="module")
def told(scorer, held_out):
    """Scores of the held-out images beside other captions, without another look at the images."""
    pictures = embed_images(scorer, held_out[0], 50).double()

    def by(captions, rows=slice(None)):
        words = embed_captions(scorer, captions, 50).double()
        return scorer.scale * (pictures[rows] * words).sum(dim=1).numpy()

    return by


def blurred(images, radius):
    return np.stack([np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(radius))) for x in images])


def test_a_pair_scores_above_other_captions_blur_and_noise(scorer, held_out, real, told):
    """By the mean, and for nearly each pair on its own."""
    images, captions = held_out
    assert np.array_equal(real, told(captions))
    noise = stateless.generator("noise", 0).integers(0, 256, images.shape, dtype=np.uint8)
    for name, lesser in {
        "shuffled": told(captions[7:] + captions[:7]),
        "blurred": score(scorer, blurred(images, 3), captions, 50),
        "noise": score(scorer, noise, captions, 50),
    }.items():
        assert real.mean() > lesser.mean() + 20, name
        assert (real > lesser).mean() > 0.9, name
    assert 100 >= real.max() > real.mean() > 40


def test_the_score_falls_with_blur_step_by_step(scorer, held_out, real):
    images, captions = held_out
    lesser = [score(scorer, blurred(images, radius), captions, 50).mean() for radius in (1, 2, 4)]
    means = [real.mean(), *lesser]
    assert means == sorted(means, reverse=True)


def test_the_wrong_object_costs_more_than_the_wrong_place(held_out, told):
    """A score that reads the caption: another object, colour kept, is worse than another place."""
    captions = held_out[1]
    plain = [i for i, c in enumerate(captions) if " and " not in c and " on a" in c]
    right = [captions[i].split(" background")[0] + " background" for i in plain]
    other = ["a pizza on" + c.split(" on", 1)[1] if "pizza" not in c else "a fox on" + c.split(" on", 1)[1]
             for c in right]  # fmt: skip
    placed = [f"{c} at the top" for c in right]
    by = {name: told(words, plain).mean()
          for name, words in (("right", right), ("other", other), ("placed", placed))}  # fmt: skip
    assert by["right"] > by["other"] + 10
    assert by["placed"] > by["other"]


def test_a_score_depends_on_its_own_pair_alone(scorer, held_out, real):
    """To a thousandth of a point: captions and projections are float32, and each image is convolved alone."""
    images, captions = held_out
    order = np.random.default_rng(0).permutation(len(captions))[:35]
    for batch in (1, 7, 33):
        scorer.embedded.clear()
        part = score(scorer, images[order], [captions[i] for i in order], batch)
        assert np.abs(part - real[order]).max() < 1e-3


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


def test_figures_are_means_of_the_scores(held_out, examined, real, told):
    captions, means = held_out[1], examined.means
    assert means["real"] == pytest.approx(real.mean())
    assert means["shuffled"] == pytest.approx(told(captions[1:] + captions[:1]).mean())
    assert means["real"] > means["blurred"] > means["noise"]
    assert set(means) == {"real", "shuffled", "blurred", "noise", "white"}


def test_figures_are_the_same_of_images_that_come_in_batches(scorer, held_out):
    """Bit by bit: the noise goes on from batch to batch, and a batch's last caption turns to the next one."""
    images, captions = held_out[0][:20], held_out[1][:20]
    whole, passing = iter([images]), iter([images[:10], images[10:]])
    one, other = (examine(replace(scorer, embedded={}), x, captions, 0, batch=10) for x in (whole, passing))
    assert one == other


def test_a_fitted_scorer_tells_captions_apart_and_one_of_shuffled_pairs_does_not(scorer, held_out, examined):
    images, captions = held_out
    wrong = examine(scorer, [images], [*captions[37:], *captions[:37]], seed=0, batch=50)
    assert examined.sure > 0.75
    assert wrong.auc < 0.6
    assert 0 < examined.auc_se < wrong.auc_se < 0.05


def test_told_apart_is_the_share_of_other_captions_that_are_farther():
    """Counted by hand over the next pairs: equal texts are left out, equal cosines count one half."""
    rng = np.random.default_rng(0)
    a, b = (torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(150, 4))), dim=1) for _ in "ab")
    b = torch.nn.functional.normalize(a + 0.8 * b, dim=1)
    captions = [f"caption {i % 60}" for i in range(150)]
    shares = []
    for i in range(150):
        beside = [(i + step) % 150 for step in range(1, 101)]
        others = [float(a[i] @ b[j]) for j in beside if captions[j] != captions[i]]
        assert len(others) < 100
        shares.append(np.mean([float(a[i] @ b[i]) > one for one in others]))
    auc, error = told_apart(a, b, captions)
    assert auc == pytest.approx(np.mean(shares))
    assert error == pytest.approx(np.std(shares, ddof=1) / 150**0.5)
    same = torch.ones(5, 1)
    assert told_apart(same, same, list("abcde")) == (0.5, 0.0)
    assert told_apart(same, same, ["a"] * 5) == (0.5, 0.0), "no other caption to tell from"


def test_images_and_captions_that_do_not_match_are_refused(scorer, held_out):
    images, captions = held_out
    with pytest.raises(Refusal, match="100 images and 99 captions"):
        score(scorer, images, captions[1:], 10)
