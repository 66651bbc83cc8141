"""The grid: which cells there are, and which arms and models they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass

from alchemist.core.settings.grid import GridSettings
from alchemist.core.settings.rater import RaterSettings
from alchemist.core.settings.selection import SelectionSettings

FULL = "full"  # the name of the full data where a selection could stand


@dataclass(frozen=True)
class Cell:
    """One trained and measured generator; the full-data run has ratio 1."""

    name: str
    selection: str
    ratio: float
    model: str
    seed: int


@dataclass(frozen=True)
class Study:
    """The grid, with the selections and raters that it names."""

    grid: GridSettings
    selections: Mapping[str, SelectionSettings]
    raters: dict[str, RaterSettings]

    def cells(self) -> list[Cell]:
        """All cells: the full data, then every subset with its models, those of the transfer last."""
        seeds = self.grid.seeds
        out = [Cell(f"{FULL}-{m}-{s}", FULL, 1.0, m, s) for m in self.grid.whole() for s in seeds]
        return out + [Cell(f"{n}-{r}-{m}-{s}", n, r, m, s) for n, r, m in self.grid.runs() for s in seeds]

    def arms(self) -> list[tuple[str, float]]:
        """Selections and ratios with a subset, ratios falling; those of the ablation last."""
        return self.grid.arms()

    def models(self) -> list[str]:
        """Every model that a cell trains; those of the transfer last."""
        return [*self.grid.whole(), *self.grid.transfer.models]

    def own(self) -> list[str]:
        """Models of the main model's family that have every subset of the grid and the full data."""
        grid = self.grid
        return [name for name in grid.whole() if grid.family_of(name) == grid.family_of(grid.main)]

    def measured(self, model: str) -> list[tuple[str, float]]:
        """Arms of a model's cells, the full data first where it has some, ratios falling."""
        arms = [(n, r) for n, r, trained in self.grid.runs() if trained == model]
        whole = [(FULL, 1.0)] if model in self.grid.whole() else []
        return [*whole, *sorted(arms, key=lambda arm: -arm[1])]

    def rated_by(self, selection: str) -> str | None:
        """The family whose proxy a selection's rater is trained with; None where it trains none, or draws."""
        if selection == FULL or self.raters[self.selections[selection].rater].kind == "random":
            return None
        return self.grid.rated_by(self.selections[selection].rater)

    def reads_truth(self, selection: str) -> bool:
        """Whether a selection sees planted truth, so that it is a bound and no method."""
        return selection != FULL and self.raters[self.selections[selection].rater].kind == "oracle"
