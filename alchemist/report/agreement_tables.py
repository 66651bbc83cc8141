"""The page's section on agreement: rank correlations of ratings, overlap of subsets, AUC of planted kinds."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from alchemist.analysis.agreement import auc_by_kind, rank_correlations
from alchemist.analysis.overlap import overlaps
from alchemist.analysis.results import Stat
from alchemist.analysis.words import DASH, number
from alchemist.core.settings.rater import seeded
from alchemist.report.chart import ROW, Chart
from alchemist.report.elements import KINDS, Table, add
from alchemist.report.material import Material
from alchemist.report.words import share_text, told


def agreement_tables(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """Rank correlations of ratings, overlap of subsets, AUC of planted kinds; heat maps of the first two."""
    study = material.study
    found = [
        c
        for c in rank_correlations(material.ratings)
        # One table for all seeds agrees with itself by construction.
        if c.first != c.second or seeded(study.raters[c.first])
    ]
    cells = {pair: _spread(c.mean, c.low, c.high, c.n, 3) for c in found for pair in _both(c.first, c.second)}
    ratings = {pair: c.mean for c in found for pair in _both(c.first, c.second)}
    heat = _heat("Rank correlation (Spearman) of the ratings", ratings)
    maps = [add(charts, "agreement-ratings", heat)] if len(material.ratings) > 1 and len(heat.rows) else []
    usable = int((material.index["status"] == "ok").sum())
    every = overlaps(material.subsets, usable)
    shared = []
    for ratio in sorted({arm[1] for arm in study.arms()}, reverse=True):
        pairs = [o for o in every if o.ratio == ratio]
        if pairs:
            jaccard = {
                pair: _spread(o.overlap.jaccard, o.low, o.high, o.n, 3)
                for o in pairs
                for pair in _both(o.first, o.second)
            }
            arms = list(dict.fromkeys(name for o in pairs for name in (o.first, o.second)))
            chance = number(float(np.mean([o.overlap.chance for o in pairs])), 3)
            both = {pair: o.overlap.jaccard for o in pairs for pair in _both(o.first, o.second)}
            title = f"Overlap (Jaccard) of subsets that keep {share_text(ratio)}, {chance} by chance"
            maps.append(add(charts, f"agreement-subsets-{ratio:g}", _heat(title, both)))
            shared.append({"ratio": share_text(ratio), "chance": chance, "table": _square(arms, jaccard)})
    return {
        "maps": maps,
        "correlation": _square(list(study.raters), cells),
        "overlaps": shared,
        "auc": None if material.kinds is None else _auc(material),
    }


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)


def _heat(title: str, values: Mapping[tuple[str, str], float]) -> Chart:
    rows = [(*pair, value) for pair, value in values.items() if not math.isnan(value)]
    found = pd.DataFrame(rows, columns=["one", "other", "value"])
    return Chart("heat", title, found, "one", "", height=ROW * found["other"].nunique())


def _square(names: Sequence[str], cells: Mapping[tuple[str, str], str]) -> Table:
    """A symmetric table; a pair that was not compared has a dash."""
    rows = [[name, *(cells.get((name, other), DASH) for other in names)] for name in names]
    return Table(["", *names], rows)


def _spread(mean: float, low: float, high: float, n: int, digits: int) -> str:
    """A mean, and in small its range where it is one of several values."""
    if n < 2:
        return number(mean, digits)
    ends = number(low, digits), number(high, digits)
    return Markup("{}<small>{} to {}</small>").format(number(mean, digits), *ends)


def _auc(material: Material) -> Table:
    kinds = material.kinds
    assert kinds is not None
    found = auc_by_kind(material.ratings, kinds)
    cells = {
        (row["rater"], row["kind"]): told(
            Stat(
                row["mean"],
                None if row["n"] < 2 or not seeded(material.study.raters[row["rater"]]) else row["sd"],
                row["n"],
            ),
            3,
        )
        for row in found.to_dict("records")
    }
    rows = [[rater, *(cells.get((rater, kind), DASH) for kind in KINDS)] for rater in material.study.raters]
    return Table(["rater", *KINDS], rows)
