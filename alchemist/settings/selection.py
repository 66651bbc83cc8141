"""The blocks `selections.NAME`: which rater orders the pool and which sampler keeps a part of it."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from alchemist.settings import Settings

# The values that each sampler uses; all others must be null, so that no value is silently ignored.
USES = {
    "full": (),
    "random": (),
    "topk": (),
    "block": ("start",),
    "gsample": ("mean", "sigma"),
    "shift_gsample": ("drop", "mean", "sigma"),
}


class SelectionSettings(Settings):
    """A rater and a sampler with its values, in percent of the pool; null takes the sampler's default.

    The defaults depend on the retention and stand in `alchemist.pruning.laws`.
    """

    rater: str = Field(min_length=1, description="name of the rater whose table orders the pool")
    sampler: Literal["full", "random", "topk", "block", "gsample", "shift_gsample"] = Field(
        description="the law by which ids are kept"
    )
    seed: int = Field(
        ge=0, description="of the sampling and of the order of equal ratings; the grid's seed is added"
    )
    start: float | None = Field(ge=0, lt=100, description="block: rank of its first id, in percent")
    drop: float | None = Field(ge=0, lt=100, description="shift_gsample: top share thrown away, in percent")
    mean: float | None = Field(ge=0, le=100, description="centre of the Gaussian, as a percentile rank")
    sigma: float | None = Field(gt=0, allow_inf_nan=False, description="width of the Gaussian, in percent")

    @field_validator("start", "drop", "mean", "sigma")
    @classmethod
    def used(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Refuses a value that the sampler would ignore."""
        sampler = info.data.get("sampler")  # absent if it was refused itself
        if sampler is not None and value is not None and info.field_name not in USES[sampler]:
            uses = " and ".join(USES[sampler]) or "none of start, drop, mean and sigma"
            raise ValueError(f"it should be null, because sampler {sampler} uses {uses}")
        return value
