"""Sampler topk: the highest ratings."""

from typing import ClassVar, Literal

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler


class TopK(Sampler):
    """The highest ratings; of equal ones the first by a seeded hash."""

    title: ClassVar[str] = "Top-K"
    sampler: Literal["topk"]
    least: float | None = Field(
        default=None,
        ge=-1e9,
        description="lowest rating that is kept, so that fewer pairs may be kept than the ratio asks for, in "
        "the unit of the rating; null: any",
    )

    def keeps_fewer(self) -> bool:
        """Where there is a lowest rating."""
        return self.least is not None

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep. Raises Refusal where no rating is as high as `least`."""
        top = pool.top(count)
        if self.least is None:
            return top
        if pool.rating.max() < self.least:
            raise Refusal(
                f"least is {self.least:g}; at most {pool.rating.max():g}, the highest rating, is legal."
            )
        kept: Mask = top & (pool.rating >= self.least)
        return kept

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """See Sampler.why."""
        best = f"the best {100 * ratio:g} %"
        if kept:
            return f"among {best}"
        if self.least is not None and place < count:
            return f"among {best}, but rated less than {self.least:g}"
        return f"below {best}"


SAMPLER = TopK
