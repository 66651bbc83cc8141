"""What several sections of the page are built from: tables, names of arms, charts, curves."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from alchemist.analysis import reach
from alchemist.analysis.grid import FULL
from alchemist.report.chart import Chart, among, colours_of
from alchemist.report.material import Material
from alchemist.report.words import share_text

KINDS = ("informative", "plain", "chaotic", "mismatched", "degraded", "duplicate")  # order of the bars


@dataclass(frozen=True)
class Table:
    """A table for the template; the first `left` columns are words, the rest numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    groups: Sequence[int] = ()  # rows above which a rule parts the table


def arm_name(selection: str, ratio: float) -> str:
    """A selection and what it keeps."""
    return FULL if selection == FULL else f"{selection}, {share_text(ratio)}"


def add(charts: dict[str, Chart], name: str, chart: Chart) -> str:
    """Stores a chart of the page, and returns its name, by which a template places it."""
    charts[name] = chart
    return name


def arm_colours(material: Material, rows: pd.DataFrame) -> dict[str, str]:
    """A colour for every selection of some rows, the same in all charts; the text's for the full data."""
    return among(colours_of(list(material.study.selections), FULL), rows["selection"])


def curve_of(material: Material, model: str, selection: str, ratio: float, metric: str) -> pd.DataFrame:
    """Rows of images, and mean, least and largest figure over the seeds of an arm, for a chart of lines."""
    found = reach.curves(material.table, selection, ratio, model, metric)
    by_images = pd.DataFrame(found).sort_index()
    spread = {"mean": by_images.mean(axis=1), "low": by_images.min(axis=1), "high": by_images.max(axis=1)}
    rows = pd.DataFrame(spread).rename_axis("images").reset_index()
    rows.insert(0, "selection", selection)
    rows.insert(1, "keeps", share_text(ratio))
    return rows
