"""The blocks `contrasts.NAME` and `statistics`: which arms are compared, and how sure one wants to be."""

from typing import Literal

from pydantic import Field

from alchemist.core.settings import Settings
from alchemist.core.settings.grid import GridSettings

Metric = Literal[
    "fd",
    "fd_coded",
    "kid",
    "clip",
    "nll",
    "fd_lite0",
    "kid_lite0",
    "fid_pytorch",
    "kid_pytorch",
    "fid_clean",
    "kid_clean",
    "fd_dinov2_vitl14",
    "kid_dinov2_vitl14",
    "fd_dinov2_vitb14",
    "kid_dinov2_vitb14",
    "cmmd",
]


class ContrastSettings(Settings):
    """One paired difference: figure of `arm` less figure of `against`, seed by seed."""

    arm: str = Field(min_length=1, description="a selection of the grid")
    against: str = Field(min_length=1, description="another selection at the same ratio, or full")
    ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="share of the pool that the arm keeps; null: the first of grid.ratios",
    )
    model: str | None = Field(
        default=None,
        description="a block of models, of any family of the grid; null: the first of grid.models",
    )
    point: Literal["equal_epochs", "equal_images", "best"] = Field(
        default="equal_images",
        description="checkpoint at which the arms are compared; best: of each cell the one of least loss on "
        "the meta-validation split",
    )
    metric: Metric = Field(
        default="fd", description="figure that is compared; by its full name if it is of evaluate.further"
    )

    def of(self, grid: GridSettings) -> "ContrastSettings":
        """With the grid's first ratio and first model where it names none."""
        first = {"ratio": self.ratio or grid.ratios[0], "model": self.model or grid.main}
        return self.model_copy(update=first)


class StatisticsSettings(Settings):
    """Named before the run: the primary contrast, and those that Holm's correction covers."""

    primary: str | None = Field(
        min_length=1, description="a block of contrasts; null: no interval is asked for"
    )
    secondary: tuple[str, ...] = Field(
        description="further blocks of contrasts, which share Holm's correction"
    )
    confidence: float = Field(default=0.95, gt=0.5, lt=1, description="of every interval, as a share")
