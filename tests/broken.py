"""Networks that go wrong at a stated image number of a run, to see that it is told and not kept."""

import torch
from torch import Tensor

from alchemist.families.star.generator import StarGenerator
from alchemist.models.batch import Batch, Chance
from alchemist.raters.network import Rater


class Broken(StarGenerator):
    """At image number `at` of a run the pair's loss is NaN, or all losses are finite and no gradient is."""

    at, gradient = 0, False

    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        found = super().losses(batch, chance)
        if self.gradient and self.at in chance.positions:
            return found + nothing(self.star.embed.weight)
        return torch.where(torch.as_tensor(chance.positions == self.at), torch.nan, found)


class BrokenRater(Rater):
    """At image number `at` its features are finite and their gradient is not."""

    at = 0

    def features(self, batch: Batch, chance: Chance) -> Tensor:
        found = super().features(batch, chance)
        return found + nothing(next(self.parameters())) if self.at in chance.positions else found


def nothing(weights: Tensor) -> Tensor:
    """0, whose derivative is 0 / 0."""
    return (0 * weights.sum()).sqrt()
