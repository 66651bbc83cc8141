"""Every arm of a registered study beside its controls: to look at, since only what a claim named decides."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from alchemist.analysis.advice import Arm, Blocks, Gap, wide
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import of_model
from alchemist.analysis.results import Stat, losses


@dataclass(frozen=True)
class Row:
    """An arm of one model: its means over seeds, and what they are less those of each control."""

    arm: Arm
    model: str
    means: dict[str, float]  # by metric
    less: dict[tuple[str, str], Gap]  # by metric and control; of controls that have the arm's ratio
    losses: dict[str, Stat]  # as `results.losses` gives them


def beside(
    table: pd.DataFrame, point: str, metrics: Sequence[str], controls: Sequence[str], confidence: float
) -> list[Row]:
    """Every arm of a tidy table at one point, by model; controls beside each other, the full data by none.

    A control is a selection at the arm's ratio, or the full data. Intervals have the noise of all arms
    together (`advice.Blocks`), and hold for all of one model together (Bonferroni). In a metric
    that one of its cells lacks, an arm is left out.
    """
    out = []
    for model in dict.fromkeys(table["model"]):
        here = of_model(table, model)
        here = here[here["point"] == point]
        arms = [*dict.fromkeys(zip(here["selection"], here["ratio"], strict=True))]
        figures = {name: wide(here, arms, name).dropna() for name in metrics if name in here}
        pairs = [
            (metric, arm, name)
            for metric, found in figures.items()
            for arm in found.index
            for name in controls
            if _of(name, arm) in found.index and _of(name, arm) != arm and arm[0] != FULL
        ]
        blocks = {
            metric: Blocks(found, confidence, len(pairs))
            for metric, found in figures.items()
            if len(found) > 1
        }
        for arm in arms:
            less = {
                (metric, name): blocks[metric].gap(arm, _of(name, arm))
                for metric, own, name in pairs
                if own == arm
            }
            means = {
                metric: float(found.loc[arm].mean())
                for metric, found in figures.items()
                if arm in found.index
            }
            cells = here[(here["selection"] == arm[0]) & (here["ratio"] == arm[1])]
            out.append(Row(arm, model, means, less, losses(cells)))
    return out


def _of(control: str, arm: Arm) -> Arm:
    return (FULL, 1.0) if control == FULL else (control, arm[1])
