"""What one generator scores: images of the prompts, and every figure of them side by side."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core import devices
from alchemist.measures import clip_score, features
from alchemist.measures.clip_score import Scorer
from alchemist.measures.distances import Moments, frechet_distance, kernel_distance, moments
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, EvaluationRows
from alchemist.models.family import Generator, Tick
from alchemist.settings import Settings
from alchemist.settings.evaluation import EvaluateSettings


@dataclass(frozen=True)
class References:
    """Features of the real reference images, and moments of them before and after the family's codec."""

    real: NDArray[np.floating]  # (m, d)
    moments: Moments
    coded: Moments


@torch.no_grad()
def generate(
    generator: Generator,
    data: Encoded,
    rows: EvaluationRows,
    law: Settings,
    settings: EvaluateSettings,
    tick: Tick,
) -> NDArray[np.uint8]:
    """One image a prompt, (n, R, R, 3) uint8; prompt number i has the noise of (settings.seed, i)."""
    device, parts = devices.of(generator), []
    for start in range(0, len(rows.prompts), settings.batch):
        chosen = rows.prompts[start : start + settings.batch]
        captions = data.batch(chosen).text
        null = data.null(len(chosen), captions.states.shape[1])
        chance = Chance.run(settings.seed, start, len(chosen))
        with devices.autocast("auto", device):
            images = generator.sample(captions.to(device), null.to(device), chance, law)
        parts.append(devices.host(images.permute(0, 2, 3, 1)))
        tick(len(chosen))
    return np.ascontiguousarray(np.concatenate(parts))


@torch.no_grad()
def held_out_loss(generator: Generator, data: Encoded, rows: EvaluationRows, batch: int) -> float:
    """Mean loss of the prompts' own pairs, float32: the NLL of a family whose losses are likelihoods.

    Its unit is `generator.likelihood`. The chance of a pair is (0, a hash of its id).
    """
    device, losses = devices.of(generator), []
    for start in range(0, len(rows.prompts), batch):
        chosen = rows.prompts[start : start + batch]
        with devices.passes(device):
            losses.append(generator.losses(data.batch(chosen).to(device), Chance(0, data.positions(chosen))))
    return float(torch.cat(losses).double().mean())


def figures(
    images: NDArray[np.uint8],
    captions: list[str],
    by: features.Extractor,
    scorer: Scorer,
    references: References,
    settings: EvaluateSettings,
) -> dict[str, float]:
    """Distances and score of generated images (n, R, R, 3) and their captions, under their full names."""
    found = features.extract(images, by, settings.batch)
    kid, spread = kernel_distance(
        found, references.real, settings.kid_subsets, settings.kid_subset_size, settings.seed
    )
    return {
        settings.fd_name: frechet_distance(found, references.moments),
        f"{settings.fd_name}_coded": frechet_distance(found, references.coded),
        settings.kid_name: kid,
        f"{settings.kid_name}_sd": spread,
        settings.clip_name: float(clip_score.score(scorer, images, captions, settings.batch).mean()),
    }


@dataclass(frozen=True)
class Side:
    """The evaluation pairs of one side, prompts or references: features before and after the codec."""

    real: NDArray[np.floating]  # (n, d)
    coded: NDArray[np.floating]


def floors(
    prompts: Side,
    references: Side,
    images: NDArray[np.uint8],
    coded: NDArray[np.uint8],
    captions: list[str],
    scorer: Scorer,
    settings: EvaluateSettings,
) -> dict[str, float]:
    """What a perfect generator would score, and one that only the codec limits, at the same n.

    `images` and `coded` are those of the prompts, before and after the codec.
    """
    of_real = moments(references.real)
    kid, _ = kernel_distance(
        prompts.real, references.real, settings.kid_subsets, settings.kid_subset_size, settings.seed
    )
    return {
        settings.fd_name: frechet_distance(prompts.real, of_real),
        f"{settings.fd_name}_coded": frechet_distance(prompts.coded, moments(references.coded)),
        "fd_reconstruction": frechet_distance(prompts.coded, of_real),
        settings.kid_name: kid,
        settings.clip_name: float(clip_score.score(scorer, images, captions, settings.batch).mean()),
        f"{settings.clip_name}_reconstruction": float(
            clip_score.score(scorer, coded, captions, settings.batch).mean()
        ),
    }
