"""Ratings that a trained proxy gives without any meta-gradient: controls of what the rater adds."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.models.encoded import Encoded
from alchemist.models.star.generator import StarGenerator

Tick = Callable[[int], object]


def error_norms(logits: Tensor, tokens: Tensor) -> Tensor:
    """||softmax(z) - onehot(y)||_2 of logits z (..., V) and tokens y (...): (...), in [0, sqrt(2)].

    It is the norm of the cross-entropy's gradient by z. One is taken off the token's own chance,
    which stays exact near chance 1, where sum p^2 - 2 p_y + 1 cancels.
    """
    errors = logits.softmax(-1)
    own = tokens[..., None]
    errors.scatter_add_(-1, own, errors.new_full(own.shape, -1.0))
    return torch.linalg.vector_norm(errors, dim=-1)


@torch.no_grad()
def el2n(
    generator: StarGenerator, data: Encoded, rows: NDArray[np.int64], batch: int, tick: Tick
) -> NDArray[np.float64]:
    """EL2N (Paul et al. 2021) of rows at one checkpoint: (N,), a mean over the tokens, in [0, sqrt(2)].

    Float32 products, no drop-path. Paul et al. average several early checkpoints; the caller does.
    """
    norms = []
    for start in range(0, len(rows), batch):
        pairs = data.batch(rows[start : start + batch])
        norms.append(error_norms(generator.logits(pairs), pairs.tokens).double().mean(1).numpy())
        tick(len(pairs))
    return np.concatenate(norms)


@torch.no_grad()
def caption_losses(
    generator: StarGenerator, data: Encoded, rows: NDArray[np.int64], batch: int, tick: Tick
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """L(x | caption) and L(x | empty caption) of rows: (N,) each, nats a token, float32, no drop-path.

    Their difference, empty less given, is what the caption tells about the image (the log-ratio that
    classifier-free guidance follows, Ho & Salimans 2022). The proxy should have seen empty captions.
    """
    given, empty = [], []
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        given.append(generator.losses(data.batch(chosen)).double().numpy())
        dropped = data.batch(chosen, np.ones(len(chosen), dtype=np.bool_))
        empty.append(generator.losses(dropped).double().numpy())
        tick(len(chosen))
    return np.concatenate(given), np.concatenate(empty)


def percentiles(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Percentile of each value, 0 for the smallest and 100 for the largest; equal values share their mean."""
    ranks = pd.Series(values).rank(method="average").to_numpy() - 1
    return 100 * ranks / max(len(values) - 1, 1)


def caption_band(
    losses: NDArray[np.float64], gains: NDArray[np.float64], centre: float, mismatched: float
) -> NDArray[np.float64]:
    """Ratings (N,): minus the distance of a pair's loss percentile from `centre`, in percent.

    Low losses are plain images and high ones chaotic, so the middle is rated best. A caption that does
    not help marks a pair whose image is another's: the `mismatched` percent of lowest gain lose 100.
    """
    rating = -np.abs(percentiles(losses) - centre)
    rating[percentiles(gains) < mismatched] -= 100
    return rating
