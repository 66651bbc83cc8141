"""Sampler block: a contiguous block of the ranking (Figure 2b)."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler, leaves_room


class Block(Sampler):
    """Neighbours in the ranking. Without `start` the block lies in the middle, which is our choice."""

    title: ClassVar[str] = "block"
    sampler: Literal["block"]
    start: float | None = Field(
        default=None, ge=0, lt=100, description="rank of the first id, in percent; null: the middle"
    )

    def fits(self, ratio: float) -> None:
        """Refuses a start behind which too few ids are left for the ratio."""
        leaves_room("start", self.start, ratio, "the block would pass the end of the ranking")

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        first = self._first(len(pool), count)
        mask = np.zeros(len(pool), dtype=bool)
        mask[pool.best_first()[first : first + count]] = True
        return mask

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """See Sampler.why."""
        start = 50 * (1 - ratio) if self.start is None else self.start
        block = f"the block from {start:g} to {start + 100 * ratio:g} % of the ranking"
        before = place < self._first(total, count)
        return f"within {block}" if kept else f"{'before' if before else 'after'} {block}"

    def _first(self, total: int, count: int) -> int:
        """The place of the first id that is kept."""
        if self.start is None:
            return (total - count) // 2
        return min(round(self.start / 100 * total), total - count)


SAMPLER = Block
