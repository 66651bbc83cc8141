"""What one generator scores: images of the prompts, and every figure of them side by side."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core.precision import autocast
from alchemist.measures import clip_score, features
from alchemist.measures.clip_score import Scorer
from alchemist.measures.distances import Moments, frechet_distance, kernel_distance, moments
from alchemist.models.encoded import Encoded
from alchemist.models.star.generator import Generator
from alchemist.settings.evaluation import EvaluateSettings


@dataclass(frozen=True)
class References:
    """Features of the real reference images, and moments of them before and after the tokenizer."""

    real: NDArray[np.floating]  # (m, d)
    moments: Moments
    tokenized: Moments


@torch.no_grad()
def generate(
    generator: Generator,
    data: Encoded,
    prompts: NDArray[np.int64],
    settings: EvaluateSettings,
    tick: Callable[[int], object],
) -> NDArray[np.uint8]:
    """One image a prompt, (n, R, R, 3) uint8; prompt number i has the noise of (seed, i)."""
    parts: list[Tensor] = []
    for start in range(0, len(prompts), settings.batch):
        chosen = prompts[start : start + settings.batch]
        text = data.batch(chosen).text
        null = data.null(len(chosen), text.states.shape[1])
        numbers = np.arange(start, start + len(chosen))
        with autocast("auto"):
            parts.append(
                generator.sample(text, null, numbers, settings.seed, settings.guidance, settings.top_p)
            )
        tick(len(chosen))
    return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()


@torch.no_grad()
def token_nll(generator: Generator, data: Encoded, rows: NDArray[np.int64], batch: int) -> float:
    """Mean loss of held-out pairs in nats a token, float32; exists for autoregressive families only."""
    losses = [generator.losses(data.batch(rows[i : i + batch])) for i in range(0, len(rows), batch)]
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
        f"{settings.fd_name}_tokenized": frechet_distance(found, references.tokenized),
        settings.kid_name: kid,
        f"{settings.kid_name}_sd": spread,
        settings.clip_name: float(clip_score.score(scorer, images, captions, settings.batch).mean()),
    }


def floors(
    real: NDArray[np.floating],
    tokenized: NDArray[np.floating],
    images: NDArray[np.uint8],
    coded: NDArray[np.uint8],
    captions: list[str],
    scorer: Scorer,
    settings: EvaluateSettings,
) -> dict[str, float]:
    """What a perfect generator would score, and one that only the tokenizer limits, at the same n.

    `real` and `tokenized` are features of the evaluation split before and after the tokenizer,
    the prompts' pairs last; `images` and `coded` are those of the prompts alone.
    """
    n = settings.images
    references = moments(real[:-n])
    kid, _ = kernel_distance(
        real[-n:], real[:-n], settings.kid_subsets, settings.kid_subset_size, settings.seed
    )
    return {
        settings.fd_name: frechet_distance(real[-n:], references),
        f"{settings.fd_name}_tokenized": frechet_distance(tokenized[-n:], moments(tokenized[:-n])),
        "fd_reconstruction": frechet_distance(tokenized[-n:], references),
        settings.kid_name: kid,
        settings.clip_name: float(clip_score.score(scorer, images, captions, settings.batch).mean()),
        f"{settings.clip_name}_reconstruction": float(
            clip_score.score(scorer, coded, captions, settings.batch).mean()
        ),
    }
