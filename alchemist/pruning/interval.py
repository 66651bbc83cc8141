"""Sampler interval: one pair at a fixed interval of the ranking (arXiv 2507.05914, the select phase of D2C).

There the ranking is by a difficulty that a trained diffusion model gives, as the rater `loss` does here, and
of each class; captions have no classes, so that ours is of the whole pool. That the interval reaches the end
of it unless one is given, and need be no whole number, is our choice.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler


class Interval(Sampler):
    """The highest rating, and from there one of every so many. The order of equal ratings alone is drawn."""

    title: ClassVar[str] = "interval"
    sampler: Literal["interval"]
    every: float | None = Field(
        default=None,
        ge=1,
        allow_inf_nan=False,
        description="ranks from one id that is kept to the next; null: 1 / ratio, over the whole ranking",
    )

    def fits(self, ratio: float) -> None:
        """Refuses an interval at which the ranking ends before enough ids are taken."""
        if self.every is not None and self.every * ratio > 1 + 1e-9:
            raise Refusal(
                f"every is {self.every}; at retention {ratio} it should be at most {1 / ratio:.6g}, because "
                "the ranking would end before as many ids are taken."
            )

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        if self.every is None or self.every * count > len(pool):  # by the rounding of the count
            places = np.arange(count) * len(pool) // count
        else:
            places = np.floor(np.arange(count) * self.every).astype(np.int64)
        mask = np.zeros(len(pool), dtype=bool)
        mask[pool.best_first()[places]] = True
        return mask


SAMPLER = Interval
