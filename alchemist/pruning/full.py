"""Sampler full: keeps all."""

from typing import ClassVar, Literal

import numpy as np

from alchemist.core.refusal import Refusal
from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler


class Full(Sampler):
    """All pairs, at the ratio 1 alone."""

    title: ClassVar[str] = "all pairs"
    sampler: Literal["full"]

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep. Raises Refusal where the ratio asks for fewer."""
        if count < len(pool):
            raise Refusal(f"retention is {ratio}; sampler full keeps all, so it should be 1.0.")
        return np.ones(len(pool), dtype=bool)


SAMPLER = Full
