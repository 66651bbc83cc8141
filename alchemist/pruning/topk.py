"""Sampler topk: the highest ratings."""

from typing import ClassVar, Literal

from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler


class TopK(Sampler):
    """The highest ratings; of equal ones the first by a seeded hash."""

    title: ClassVar[str] = "Top-K"
    sampler: Literal["topk"]

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        return pool.top(count)


SAMPLER = TopK
