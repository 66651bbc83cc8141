"""Every figure of a set of images, side by side: of generated ones, or of real ones in their place.

Images pass by a batch at a time and are kept nowhere; their features are, some kilobytes an image.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alchemist.core import finite
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings, Further, fd_name, kid_name
from alchemist.measures import clip_score, features
from alchemist.measures.clip_score import Scorer
from alchemist.measures.distances import Features, Moments, cmmd, frechet_distance, kernel_distance, moments

Images = NDArray[np.uint8]  # (B, R, R, 3)
ADVICE = "the weights of evaluate may be broken, or their network overflows"
ENOUGH = 3000  # images of a category on each side, from which on its Fréchet distance is given


@dataclass(frozen=True)
class Measured:
    """What is kept of n images: features by network, and the score beside the own caption."""

    features: dict[Further, Features]  # (n, d)
    scores: NDArray[np.float64]  # (n,); empty where no scorer was asked

    def part(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> "Measured":
        """That of some of the images, or in another order."""
        some = {name: found[rows] for name, found in self.features.items()}
        return Measured(some, self.scores[rows] if len(self.scores) else self.scores)


def measured(
    batches: Iterable[Images],
    networks: list[features.Extractor],
    batch: int,
    scorer: Scorer | None = None,
    captions: list[str] | None = None,
) -> Measured:
    """Features and scores of images that come in batches; `captions`, for the scorer, are of all of them.

    Raises Refusal where some are not finite, with the images' numbers from 0.
    """
    found: dict[Further, list[Features]] = {by.name: [] for by in networks}
    scores, count = [np.empty(0)], 0
    for images in batches:
        for by in networks:
            rows = features.extract(images, by, batch)
            finite.check(f"features by {by.name}", rows, _numbers(count, images), ADVICE)
            found[by.name].append(rows)
        if scorer is not None and captions is not None:
            beside = captions[count : count + len(images)]
            scores.append(clip_score.score(scorer, images, beside, batch))
            finite.check("CLIP-Score", scores[-1], _numbers(count, images), ADVICE)
        count += len(images)
    if not count:
        raise Refusal("There are no images to take features of.")
    return Measured({name: np.concatenate(rows) for name, rows in found.items()}, np.concatenate(scores))


def _numbers(first: int, images: Images) -> list[str]:
    return [f"image {number}" for number in range(first, first + len(images))]


@dataclass(frozen=True)
class References:
    """Features of the real reference images by network, and moments of them."""

    real: dict[Further, Features]  # (m, d)
    moments: dict[Further, Moments]
    coded: Moments  # after the family's codec, on the network `features`

    @classmethod
    def of(
        cls, real: dict[Further, Features], coded: Features, rows: NDArray[np.bool_] | None = None
    ) -> "References":
        """Those of features, or of some rows of them; moments are computed once."""
        if rows is not None:
            real, coded = {name: found[rows] for name, found in real.items()}, coded[rows]
        return cls(real, {n: moments(found) for n, found in real.items() if n != "cmmd"}, moments(coded))


def figures(found: Measured, references: References, settings: EvaluateSettings) -> dict[str, float]:
    """Distances and score of generated images, under their full names."""
    first = found.features[settings.features]
    out = {
        f"{settings.fd_name}_coded": frechet_distance(first, references.coded),
        settings.clip_name: float(found.scores.mean()),
    }
    for network, rows in found.features.items():
        out |= _to_real(network, rows, references, settings)
    return out


def _to_real(
    network: Further, rows: Features, references: References, settings: EvaluateSettings
) -> dict[str, float]:
    """FD and KID of features (n, d) to those of the real references, or CMMD."""
    real = references.real[network]
    if network == "cmmd":
        return {"cmmd": cmmd(rows, real)}
    fewest, size = min(len(rows), len(real)), settings.kid_subset_size
    # Of a view that is smaller than a subset, halves: else all subsets were the same.
    size = size if size <= fewest else max(2, fewest // 2)
    kid, spread = kernel_distance(rows, real, settings.kid_subsets, size, settings.seed)
    return {
        fd_name(network): frechet_distance(rows, references.moments[network]),
        kid_name(network): kid,
        f"{kid_name(network)}_sd": spread,
    }


def by_category(
    found: Measured,
    real: dict[Further, Features],
    categories: NDArray[np.str_],
    of_real: NDArray[np.str_],
    settings: EvaluateSettings,
) -> dict[str, dict[str, float]]:
    """Figures of each category of the prompts (n,), beside the references of that category, of (m,).

    An image whose category is "" belongs to none. CLIP-Score; FD where both sides have `ENOUGH` images, or
    else KID, where both have two at least.
    """
    out: dict[str, dict[str, float]] = {}
    for category in sorted(set(categories.tolist()) - {""}):
        mine, theirs = found.part(categories == category), of_real == category
        counts = int((categories == category).sum()), int(theirs.sum())
        out[category] = {"n": counts[0], "reference_n": counts[1]}
        if len(mine.scores):
            out[category][settings.clip_name] = float(mine.scores.mean())
        for network, rows in mine.features.items():
            if network == "cmmd" or min(counts) < 2:
                continue
            if min(counts) >= ENOUGH:
                out[category][fd_name(network)] = frechet_distance(rows, real[network][theirs])
            else:
                out[category][kid_name(network)] = kernel_distance(
                    rows, real[network][theirs], settings.kid_subsets, settings.kid_subset_size, settings.seed
                )[0]
    return out


@dataclass(frozen=True)
class Side:
    """The evaluation pairs of one side, prompts or references, before and after the codec."""

    real: Measured
    coded: Measured

    def part(self, rows: NDArray[np.bool_]) -> "Side":
        """Those of some of the pairs."""
        return Side(self.real.part(rows), self.coded.part(rows))


def floors(prompts: Side, references: Side, settings: EvaluateSettings) -> dict[str, float]:
    """What a perfect generator would score, and one that only the codec limits, at the same n.

    `fd_spread` is the yardstick: what one picture at the mean of all features would score, n times.
    """
    first = settings.features
    beside = References.of(references.real.features, references.coded.features[first])
    out = {
        f"{settings.fd_name}_coded": frechet_distance(prompts.coded.features[first], beside.coded),
        "fd_reconstruction": frechet_distance(prompts.coded.features[first], beside.moments[first]),
        "fd_spread": float(np.trace(beside.moments[first].covariance)),
        settings.clip_name: float(prompts.real.scores.mean()),
        f"{settings.clip_name}_reconstruction": float(prompts.coded.scores.mean()),
    }
    for network, rows in prompts.real.features.items():
        found = _to_real(network, rows, beside, settings)
        out |= {name: value for name, value in found.items() if not name.endswith("_sd")}
    return out
