"""The grid: which cells there are, and which arms and models they belong to."""

from collections.abc import Mapping
from dataclasses import dataclass

from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import RaterSettings
from alchemist.settings.selection import SelectionSettings

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
        """All cells: the full data, the arms of the grid and its ablation, the models of the transfer."""
        grid, seeds = self.grid, self.grid.seeds
        out = [Cell(f"{FULL}-{m}-{s}", FULL, 1.0, m, s) for m in grid.models for s in seeds]
        runs = [(arm, m) for arm in grid.arms() for m in grid.models]
        runs += [
            ((n, r), m)
            for n in grid.transfer.selections
            for r in grid.transfer.ratios
            for m in grid.transfer.models
        ]
        return out + [Cell(f"{n}-{r}-{m}-{s}", n, r, m, s) for (n, r), m in runs for s in seeds]

    def arms(self) -> list[tuple[str, float]]:
        """Selections and ratios with a subset, ratios falling; those of the ablation last."""
        return self.grid.arms()

    def models(self) -> list[str]:
        """Every model that a cell trains; those of the transfer last."""
        return [*self.grid.models, *self.grid.transfer.models]

    def measured(self, model: str) -> list[tuple[str, float]]:
        """Arms of a model's cells, the full data first where it has some, ratios falling."""
        transfer = self.grid.transfer
        arms = self.arms() if model in self.grid.models else []
        arms += [(n, r) for n in transfer.selections for r in transfer.ratios if model in transfer.models]
        whole = [(FULL, 1.0)] if model in self.grid.models else []
        return [*whole, *sorted(arms, key=lambda arm: -arm[1])]

    def reads_truth(self, selection: str) -> bool:
        """Whether a selection sees planted truth, so that it is a bound and no method."""
        return selection != FULL and self.raters[self.selections[selection].rater].kind == "oracle"
