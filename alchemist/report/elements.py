"""What several sections of the page are built from: tables, names of arms, curves, legends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from markupsafe import Markup

from alchemist.analysis import reach
from alchemist.analysis.grid import FULL
from alchemist.report import figures as draw
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


def add_figure(figures: dict[str, str], name: str, svg: str) -> Markup:
    """Stores a standalone figure and returns it for the page."""
    figures[name] = svg
    return Markup(draw.inline(svg, name))


Curve = tuple[list[float], list[float], list[float], list[float]]


def curve_of(material: Material, model: str, selection: str, ratio: float, metric: str) -> Curve:
    """Images, and mean, least and largest figure over the seeds of an arm."""
    found = reach.curves(material.table, selection, ratio, model, metric)
    by_images = pd.DataFrame(found).sort_index()
    means, low, high = by_images.mean(axis=1), by_images.min(axis=1), by_images.max(axis=1)
    return [float(i) for i in by_images.index], means.tolist(), low.tolist(), high.tolist()


def legend_of(looks: Mapping[str, tuple[str, str]], ratios: Sequence[float]) -> list[tuple[Markup, str]]:
    """Colours and marks of the selections, the full data first, and dashes of the ratios."""
    legend = [
        (Markup(draw.swatch(colour.replace(draw.INK, "currentColor"), marker)), name)
        for name, (colour, marker) in sorted(looks.items(), key=lambda item: item[0] != FULL)
    ]
    return legend + [
        (Markup(draw.swatch("currentColor", None, draw.dashes(i))), share_text(ratio))
        for i, ratio in enumerate(ratios)
    ]
