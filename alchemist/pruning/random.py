"""Sampler random: every id equally, whatever its rating."""

from typing import ClassVar, Literal

from alchemist.pruning.rated import Mask, Rated, largest
from alchemist.pruning.sampler import Sampler


class Random(Sampler):
    """A hash of seed and id."""

    title: ClassVar[str] = "at random"
    sampler: Literal["random"]

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        return largest(pool.noise("random"), count)

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """See Sampler.why."""
        return f"{'drawn' if kept else 'not drawn'} by a hash of its id, whatever its rating"


SAMPLER = Random
