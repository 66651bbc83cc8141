"""Sampler shift_gsample: the top `drop` % away, then eq. 11 on the rest (the paper's Shift-Gsample).

The paper states neither n (our `drop`) nor mean nor sigma. In the history of the authors' experiment
configurations n is 25 % up to a retention of 50 %, 15 % at 80 % and 5 % at 90 %. Our choice: the steps
between those retentions, the mean in the middle of the remainder, and the sigma of Gsample, 15 %.
"""

from typing import ClassVar, Literal

from pydantic import Field

from alchemist.pruning.gsample import SIGMA, drawn, gaussian
from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler, leaves_room


class ShiftGsample(Sampler):
    """Gsample on what is left without the highest ratings."""

    title: ClassVar[str] = "Shift-Gsample"
    sampler: Literal["shift_gsample"]
    drop: float | None = Field(
        default=None,
        ge=0,
        lt=100,
        description="top share thrown away, in percent; null: 25 up to a ratio of 0.5, 15 up to 0.8, "
        "5 up to 0.95, then 0",
    )
    mean: float | None = Field(
        default=None, ge=0, le=100, description="centre, as a percentile rank; null: the middle of the rest"
    )
    sigma: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description=f"width, in percent; null: {SIGMA:g}"
    )

    def fits(self, ratio: float) -> None:
        """Refuses a drop that leaves too few ids for the ratio."""
        leaves_room("drop", self.drop, ratio, "fewer ids would be left than are to be kept")

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        drop, mean = self._law(ratio)
        dropped = _dropped(drop, len(pool), count)
        return gaussian(pool, dropped, count, mean=mean, sigma=SIGMA if self.sigma is None else self.sigma)

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """See Sampler.why."""
        drop, mean = self._law(ratio)
        if place < _dropped(drop, total, count):
            return f"in the top {drop:g} %, which is thrown away"
        return drawn(mean, kept)

    def _law(self, ratio: float) -> tuple[float, float]:
        """The top share that is thrown away, and the centre, in percent."""
        drop = default_drop(ratio) if self.drop is None else self.drop
        return drop, drop + (100 - drop) / 2 if self.mean is None else self.mean


def _dropped(drop: float, total: int, count: int) -> int:
    """How many ids are thrown away; rounding may leave one too few where drop and ratio add up to 100 %."""
    return min(round(drop / 100 * total), total - count)


def default_drop(ratio: float) -> float:
    """The top share that is thrown away, in percent; never more than 100 (1 - ratio)."""
    for limit, drop in ((0.5, 25.0), (0.8, 15.0), (0.95, 5.0)):
        if ratio <= limit:
            return drop
    return 0.0


SAMPLER = ShiftGsample
