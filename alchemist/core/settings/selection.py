"""The blocks `selections.NAME`: which rater orders the pool and which sampler keeps a part of it.

What a sampler takes beside these keys stands in its own file, `alchemist/pruning/SAMPLER.py`.
"""

from typing import Any

from pydantic import Field

from alchemist.core.settings import Settings


class SelectionSettings(Settings):
    """What every sampler's block has. Its own values are in percent of the pool; null takes the default."""

    rater: str = Field(min_length=1, description="name of the rater whose table orders the pool")
    sampler: str = Field(description="the law by which ids are kept")
    seed: int = Field(
        default=0,
        ge=0,
        description="of the sampling and of the order of equal ratings; the grid's seed is added",
    )

    def own(self) -> dict[str, Any]:
        """The sampler's own values."""
        return self.model_dump(exclude=set(SelectionSettings.model_fields))

    def plain(self) -> bool:
        """Whether the sampler takes the defaults of all its own values."""
        return all(value == type(self).model_fields[name].default for name, value in self.own().items())

    def keeps_fewer(self) -> bool:
        """Whether fewer pairs may be kept than the ratio asks for, so that a ratio of 1 need not keep all."""
        return False

    def fits(self, ratio: float) -> None:
        """Raises Refusal where the sampler's values leave fewer pairs than `ratio` keeps."""
