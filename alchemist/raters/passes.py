"""A network's losses of a batch that does not go through it at once."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from alchemist.core import devices, world
from alchemist.core.settings.budget import RateSettings
from alchemist.models.batch import Batch, Chance, chunks
from alchemist.models.family import Generator
from alchemist.raters import credit


class Passes:
    """Passes of a network over a batch, `budget.chunk` pairs at a time; `found`: their losses, detached.

    Of several processes each passes its own rows, and `found` has the losses of all.
    """

    def __init__(self, network: Generator, batch: Batch, chance: Chance, budget: RateSettings) -> None:
        self.network, self.batch, self.chance, self.budget = network, batch, chance, budget
        self._found: list[Tensor] = []

    def _losses(self, rows: slice) -> Tensor:
        with devices.autocast(self.budget.precision, devices.of(self.network)):
            losses = self.network.losses(self.batch[rows], self.chance[rows])
        self._found.append(losses.detach())
        return losses

    def weighted(self, weights: Tensor) -> Iterator[Tensor]:
        """Parts of sum_i w_i L_i with weights (B,), each a pass forward whose graph is the caller's."""
        for rows in chunks(len(self.batch), self.budget.chunk):
            yield (weights[rows] * self._losses(rows)).sum()

    @torch.no_grad()
    def forward(self) -> Tensor:
        """Losses (B,) without a graph."""
        for rows in chunks(len(self.batch), self.budget.chunk):
            self._losses(rows)
        return self.found

    @property
    def found(self) -> Tensor:
        """Losses (B,) of the batch, once it was passed."""
        return world.joined(torch.cat(self._found), len(self.batch))


Pairs = tuple[Batch, Chance]


def over_processes(cut: Callable[[Pairs], list[credit.Part[Pairs]]]) -> credit.Whole[Pairs]:
    """How the exact credits pass a batch whose parts, by `cut`, are this process's own."""

    def summed(found: credit.Parameters) -> credit.Parameters:
        world.sum_(found.values())
        return found

    return credit.Whole(cut, summed, lambda pairs, part: world.joined(part, len(pairs[0])))
