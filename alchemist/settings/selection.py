"""The blocks `selections.NAME`: which rater orders the pool and which sampler keeps a part of it."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from alchemist.core.refusal import Refusal
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

    The defaults of mean and sigma stand in `alchemist.pruning.laws`, that of drop below.
    """

    rater: str = Field(min_length=1, description="name of the rater whose table orders the pool")
    sampler: Literal["full", "random", "topk", "block", "gsample", "shift_gsample"] = Field(
        description="the law by which ids are kept"
    )
    seed: int = Field(
        default=0,
        ge=0,
        description="of the sampling and of the order of equal ratings; the grid's seed is added",
    )
    start: float | None = Field(
        default=None, ge=0, lt=100, description="block: rank of its first id, in percent"
    )
    drop: float | None = Field(
        default=None, ge=0, lt=100, description="shift_gsample: top share thrown away, in percent"
    )
    mean: float | None = Field(
        default=None, ge=0, le=100, description="centre of the Gaussian, as a percentile rank"
    )
    sigma: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="width of the Gaussian, in percent"
    )

    @field_validator("start", "drop", "mean", "sigma")
    @classmethod
    def used(cls, value: float | None, info: ValidationInfo) -> float | None:
        """Refuses a value that the sampler would ignore."""
        sampler = info.data.get("sampler")  # absent if it was refused itself
        if sampler is not None and value is not None and info.field_name not in USES[sampler]:
            uses = " and ".join(USES[sampler]) or "none of start, drop, mean and sigma"
            raise ValueError(f"it should be null, because sampler {sampler} uses {uses}")
        return value


def default_drop(retention: float) -> float:
    """The top share that Shift-Gsample throws away, in percent.

    25, 15 and 5 are the values of the authors' configurations at retentions up to 0.5, of 0.8 and
    of 0.9; the steps between them are our choice. Never more than 100 (1 - retention).
    """
    for limit, drop in ((0.5, 25.0), (0.8, 15.0), (0.95, 5.0)):
        if retention <= limit:
            return drop
    return 0.0


def shift_drop(retention: float, drop: float | None) -> float:
    """Shift-Gsample's `drop` in percent, checked to leave enough ids for the retention."""
    if drop is None:
        return default_drop(retention)
    if drop + 100 * retention > 100 + 1e-9:
        raise Refusal(
            f"drop is {drop}; at retention {retention} it should be at most {_left(retention)}, "
            "because fewer ids would be left than are to be kept."
        )
    return drop


def check_start(retention: float, start: float) -> None:
    """Refuses a block's `start`, in percent, behind which too few ids are left for the retention."""
    if start + 100 * retention > 100 + 1e-9:
        raise Refusal(
            f"start is {start}; at retention {retention} it should be at most {_left(retention)}, "
            "because the block would pass the end of the ranking."
        )


def _left(retention: float) -> str:
    """What a retention leaves, in percent, without floating-point dust."""
    return f"{100 - 100 * retention:.6g}"
