"""Losses without a gradient: of single pairs, and the means by which the checkpoints of a cell are compared.

Every cell of a family is measured on the same held-out pairs under the same chance, so that a difference is
one of weights. None of it is training: its seconds and its operations stand in no bill.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core import devices, finite, stateless
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, PoolRows, ValidationRows
from alchemist.models.family import Generator

MOST = 512  # pairs of a mean: both take a tiny model one to three seconds on a core
TRAIN, VALIDATION = "train_loss", "validation_loss"  # as a checkpoint holds them


@torch.no_grad()
def of_pairs(
    generator: Generator, data: Encoded, numbers: NDArray[np.integer], batch: int, what: str
) -> NDArray[np.float64]:
    """Losses (n,) of the pairs at row numbers, each beside its own caption, float32.

    The chance of a pair is (0, a hash of its id), as in no training, so that `batch` is nothing but rounding.
    Raises Refusal, with `what` and the ids, where some are not finite.
    """
    device, losses = devices.of(generator), []
    for start in range(0, len(numbers), batch):
        chosen = numbers[start : start + batch]
        with devices.passes(device):
            losses.append(generator.losses(data.batch(chosen).to(device), Chance(0, data.positions(chosen))))
    found: NDArray[np.float64] = devices.host(torch.cat(losses).double())
    ids = data.rows["id"].iloc[numbers].tolist()
    finite.check(what, found, ids, "a smaller train.learning_rate may help")
    return found


@dataclass(frozen=True)
class Watched:
    """The pairs whose mean losses a checkpoint is told by, as row numbers, and how many pass at once."""

    train: NDArray[np.int64]  # of the subset that is trained on
    validation: NDArray[np.int64]  # of the meta-validation split; none of some pools
    batch: int

    @classmethod
    def of(cls, data: Encoded, rows: PoolRows, validation: ValidationRows, batch: int) -> "Watched":
        """The first `MOST` pairs of each by a hash of their ids, and no more of `rows` than of the other."""
        held = validation.numbers[:MOST]  # which come in that order
        order = stateless.id_order(data.rows["id"].iloc[rows.numbers])
        return cls(rows.numbers[order[: len(held) or MOST]], held, batch)

    def losses(self, generator: Generator, data: Encoded) -> dict[str, float]:
        """The mean of each by its name, in the unit of the family's loss. Raises Refusal as `of_pairs`."""
        return {
            name: float(of_pairs(generator, data, numbers, self.batch, f"{words} loss").mean())
            for name, words, numbers in (
                (TRAIN, "training", self.train),
                (VALIDATION, "meta-validation", self.validation),
            )
            if len(numbers)
        }
