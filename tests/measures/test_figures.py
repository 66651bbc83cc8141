"""Every figure of the images that pass by: its network, references, captions and category."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings
from alchemist.measures import figures as measure
from alchemist.measures.clip_score import Scorer, score
from alchemist.measures.distances import cmmd, frechet_distance, kernel_distance
from alchemist.measures.features import Extractor, extract
from alchemist.measures.figures import Measured, References, Side
from alchemist.measures.scorers import fit_lit

SETTINGS = EvaluateSettings(
    images=8, batch=3, seed=5, features="lite0", feature_size=64, clip="lit", kid_subsets=3,
    kid_subset_size=6, grid=4,
)  # fmt: skip


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    settings = ScorerSettings(image_size=32, embed_dim=8, steps=2, batch=8, learning_rate=1e-3, seed=0)
    return fit_lit([pictures("scorer", 8)], words(8), settings)


@pytest.fixture(scope="module")
def by() -> Extractor:
    """Twelve fixed projections of the pixels: features of the right kind, at once."""
    mix = torch.from_numpy(stateless.generator("mix").normal(size=(16 * 16 * 3, 12)).astype(np.float32)) / 255

    def network(pixels: torch.Tensor) -> torch.Tensor:
        return torch.tanh(pixels.flatten(1) @ mix / 8)

    return Extractor("lite0", lambda image: image.astype(np.float32), network, torch.device("cpu"))


def pictures(stream: str, count: int) -> np.ndarray:
    return stateless.generator(stream).integers(0, 256, (count, 16, 16, 3), dtype=np.uint8)


def words(count: int) -> list[str]:
    return [f"a picture of {i} foxes" for i in range(count)]


def batches(images: np.ndarray, size: int) -> list[np.ndarray]:
    return [images[at : at + size] for at in range(0, len(images), size)]


def test_figures_are_distances_to_the_real_references_and_apart_to_the_coded(
    by: Extractor, scorer: Scorer
) -> None:
    images, real, coded = pictures("images", 8), pictures("real", 20), pictures("coded", 20) // 2
    of_real, of_coded = (extract(side, by, 7) for side in (real, coded))
    references = References.of({"lite0": of_real}, of_coded)
    found = measure.figures(
        measure.measured(batches(images, 3), [by], 3, scorer, words(8)), references, SETTINGS
    )
    own = extract(images, by, 3)
    assert set(found) == {"fd_lite0", "fd_lite0_coded", "kid_lite0", "kid_lite0_sd", "clip_lit"}
    assert found["fd_lite0"] == pytest.approx(frechet_distance(own, of_real), rel=1e-6)
    assert found["fd_lite0_coded"] == pytest.approx(frechet_distance(own, of_coded), rel=1e-6)
    assert abs(found["fd_lite0"] - found["fd_lite0_coded"]) > 0.05 * found["fd_lite0"]
    kid, spread = kernel_distance(own, of_real, 3, 6, 5)
    assert (found["kid_lite0"], found["kid_lite0_sd"]) == pytest.approx((kid, spread), rel=1e-6)
    assert found["clip_lit"] == pytest.approx(score(scorer, images, words(8), 8).mean(), abs=1e-3)
    turned = words(8)[1:] + words(8)[:1]
    assert abs(found["clip_lit"] - score(scorer, images, turned, 8).mean()) > 1e-3, (
        "each with its own caption"
    )


def test_further_networks_are_measured_beside_under_names_of_their_own(by: Extractor, scorer: Scorer) -> None:
    """Each by its own network and its own references, on the same images."""
    settings = EvaluateSettings(**{**SETTINGS.model_dump(), "further": ("dinov2_vitb14", "cmmd")})

    def bright(pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(pixels[:, :, :2, :2].flatten(1), dim=-1)

    other = replace(by, name="dinov2_vitb14", network=lambda x: by.network(x.flip(-1)) * 2)
    third = replace(by, name="cmmd", network=bright)
    networks = [by, other, third]
    images, real = pictures("images", 8), pictures("real", 20)
    of_real = measure.measured(batches(real, 6), networks, 6).features
    references = References.of(of_real, of_real["lite0"])
    kept = measure.measured(batches(images, 3), networks, 3, scorer, words(8))
    found = measure.figures(kept, references, settings)
    assert set(found) == {
        *("fd_lite0", "fd_lite0_coded", "kid_lite0", "kid_lite0_sd", "clip_lit"),
        *("fd_dinov2_vitb14", "kid_dinov2_vitb14", "kid_dinov2_vitb14_sd", "cmmd"),
    }
    assert set(settings.names.values()) < set(found)
    own, theirs = extract(images, other, 8), extract(real, other, 20)
    assert found["fd_dinov2_vitb14"] == pytest.approx(frechet_distance(own, theirs), rel=1e-6)
    assert found["kid_dinov2_vitb14"] == pytest.approx(kernel_distance(own, theirs, 3, 6, 5)[0], rel=1e-6)
    assert found["fd_dinov2_vitb14"] > 2 * found["fd_lite0"]
    assert found["cmmd"] == pytest.approx(cmmd(extract(images, third, 8), extract(real, third, 20)), rel=1e-6)


def test_categories_are_measured_by_their_own_images_and_references(
    scorer: Scorer, by: Extractor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FD where both sides have enough images, or else KID, and neither below two."""
    monkeypatch.setattr(measure, "ENOUGH", 5)
    rng = stateless.generator("categories")
    found = Measured({"lite0": rng.normal(size=(14, 12)), "cmmd": rng.normal(size=(14, 4))}, np.arange(14.0))
    real = {"lite0": rng.normal(size=(20, 12)), "cmmd": rng.normal(size=(20, 4))}
    mine = np.array(["food", "art"] * 5 + ["logo", "", "art", "art"])
    theirs = np.array(["art"] * 6 + ["food"] * 4 + ["logo"] * 9 + ["people"])
    out = measure.by_category(found, real, mine, theirs, SETTINGS)
    rows, beside = found.features["lite0"], real["lite0"]
    assert out["art"] == {
        "n": 7, "reference_n": 6, "clip_lit": pytest.approx(found.scores[mine == "art"].mean()),
        "fd_lite0": pytest.approx(frechet_distance(rows[mine == "art"], beside[theirs == "art"])),
    }  # fmt: skip
    assert out["food"] == {
        "n": 5, "reference_n": 4, "clip_lit": pytest.approx(4.0),
        "kid_lite0": pytest.approx(kernel_distance(rows[mine == "food"], beside[6:10], 3, 6, 5)[0]),
    }  # fmt: skip
    assert out["logo"] == {"n": 1, "reference_n": 9, "clip_lit": 10.0}
    assert list(out) == ["art", "food", "logo"]


def test_floors_are_those_of_perfect_images_before_and_after_the_codec() -> None:
    rng = stateless.generator("floors")

    def part(count: int, scale: float) -> Measured:
        return Measured({"lite0": rng.normal(size=(count, 12)) * scale}, rng.normal(size=count))

    prompts, references = (Side(part(count, 1.0), part(count, 1.3)) for count in (8, 20))
    found = measure.floors(prompts, references, SETTINGS)
    real, coded = (
        [x.features["lite0"] for x in pair] for pair in zip(*map(sides, (prompts, references)), strict=True)
    )
    assert found["fd_lite0"] == pytest.approx(frechet_distance(*real))
    assert found["fd_lite0_coded"] == pytest.approx(frechet_distance(*coded))
    assert found["fd_reconstruction"] == pytest.approx(frechet_distance(coded[0], real[1]))
    assert found["kid_lite0"] == pytest.approx(kernel_distance(*real, 3, 6, 5)[0])
    assert found["clip_lit"] == pytest.approx(prompts.real.scores.mean())
    assert found["clip_lit_reconstruction"] == pytest.approx(prompts.coded.scores.mean())
    # One picture at the mean, n times, is as far off as the references spread.
    mean = np.tile(real[1].mean(axis=0), (20, 1))
    assert found["fd_spread"] == pytest.approx(frechet_distance(mean, real[1]))
    assert len(set(found.values())) == len(found) == 7


def sides(side: Side) -> tuple[Measured, Measured]:
    return side.real, side.coded


def test_no_images_are_refused(by: Extractor) -> None:
    with pytest.raises(Refusal, match="no images"):
        measure.measured([], [by], 4)


def test_features_that_are_no_numbers_are_told_with_the_images(by: Extractor) -> None:
    images = pictures("nan", 8)
    images[5] = 255

    def network(pixels: torch.Tensor) -> torch.Tensor:
        found = by.network(pixels)
        return torch.where((pixels == 255).flatten(1).all(dim=1)[:, None], torch.inf, found)

    with pytest.raises(Refusal, match=r"features by lite0 of 1 of 3 pairs is not finite: 'image 5'; the"):
        measure.measured(batches(images, 3), [replace(by, network=network)], 3)
