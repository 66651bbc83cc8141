"""What the judges of the claims are given: the figures, costs and ratings of one study."""

from dataclasses import dataclass

import pandas as pd

from alchemist.analysis.agreement import Ratings
from alchemist.analysis.cost import Bills
from alchemist.analysis.grid import Study
from alchemist.analysis.parts import Part, compare
from alchemist.analysis.roles import Roles


@dataclass(frozen=True)
class Case:
    """What every claim is judged on."""

    study: Study
    table: pd.DataFrame
    confidence: float
    roles: Roles
    bills: Bills | None
    ratings: Ratings
    kinds: "pd.Series[str] | None"
    elsewhere: pd.DataFrame | None  # tidy tables of other pools at this scale

    @property
    def model(self) -> str:
        """The model on which claims stand that name none."""
        return self.study.grid.main


def compared(case: Case, arm: str, against: str, ratio: float, model: str) -> list[Part]:
    """An arm and another in the study's own table."""
    return compare(case.table, case.confidence, arm, against, ratio, model)


def ratios_of(case: Case, *selections: str) -> list[float]:
    """Ratios at which all these selections have subsets, rising."""
    arms = case.study.arms()
    every = {ratio for _, ratio in arms}
    return sorted(r for r in every if all((name, r) in arms for name in selections))
