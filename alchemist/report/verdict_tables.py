"""Verdicts on the claims and the named contrasts: tables for the page, rows for CSV."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from markupsafe import Markup

from alchemist.analysis.metrics import shown
from alchemist.analysis.parts import Verdict
from alchemist.analysis.references import WORDS
from alchemist.analysis.statistics import Contrast, Interval
from alchemist.analysis.words import number
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.words import contrast_text, interval_text, p_text, shown_unit, unit_name

INTERVAL = ("n", "mean", "sd", "low", "high", "p_t", "p_flip")


NOT_TESTED = "not tested"


def verdict_cards(material: Material) -> list[dict[str, Any]]:
    """The claims that this grid tests: verdict, sentence, why, and the comparisons that they rest on."""
    return [
        {
            "claim": v.claim,
            "verdict": v.verdict,
            "sentence": v.sentence,
            "why": v.why,
            "parts": _parts(v, material.names) if v.parts else None,
        }
        for v in material.verdicts
        if v.verdict != NOT_TESTED
    ]


def untested(material: Material) -> list[tuple[str, str]]:
    """The claims that this grid does not test, and why each is none of those."""
    return [(v.claim, f"{v.sentence} {v.why}") for v in material.verdicts if v.verdict == NOT_TESTED]


def _parts(verdict: Verdict, names: Mapping[str, str]) -> Table:
    """Every comparison of a claim with its interval."""
    rows: list[list[str]] = []
    for part in verdict.parts:
        scale, digits, sign = shown_unit(part.unit, names)
        what = part.what if part.decides else Markup("{}<small>stands beside</small>").format(part.what)
        figures = [interval_text(part.interval, digits, sign, scale), number(scale * part.claimed, digits)]
        tests = [p_text(part.interval.p_t), p_text(part.interval.p_flip)]
        where = unit_name(part.unit, names), part.verdict
        rows.append([what, *where, number(part.interval.n), *figures, *tests])
    head = [
        "comparison",
        "in",
        "verdict",
        "n",
        "mean and interval",
        "to exclude",
        "p, t-test",
        "p, sign flip",
    ]
    return Table(head, rows, left=3)


def contrast_tables(material: Material) -> list[tuple[str, Table]]:
    """The named contrasts by each view, in words, the deciding one first; none where none was asked for."""
    names = material.names
    return [(WORDS[view], _contrasts(found, names)) for view, found in material.contrasts.items() if found]


def _contrasts(contrasts: list[Contrast], names: Mapping[str, str]) -> Table:
    """The primary one first."""
    rows = []
    for c in contrasts:
        scale, digits = shown(c.metric, names)
        each = ", ".join(number(scale * d, digits, True) for d in c.differences.values())
        label = Markup("{}<small>{}</small>").format(c.name, "primary" if c.primary else "secondary")
        what = contrast_text(c, names), c.favours or "neither"
        tests = [p_text(p) for p in (c.interval.p_t, c.p_holm, c.interval.p_flip)]
        mean = interval_text(c.interval, digits, True, scale)
        rows.append([label, *what, number(c.interval.n), mean, *tests, each])
    head = ["contrast", "difference", "in favour of", "n", "mean and interval"]
    tests = ["p, t-test", "p, Holm", "p, sign flip", "each seed"]
    return Table([*head, *tests], rows, left=3, groups=[1])


def left_out(material: Material) -> list[str]:
    """Contrasts that were asked for and not made, because the models do not have their metric."""
    asked = material.params["statistics"]
    made = {contrast.name for contrast in material.decided}
    return [name for name in (asked["primary"], *asked["secondary"]) if name is not None and name not in made]


def contrast_rows(by_view: Mapping[str, list[Contrast]]) -> pd.DataFrame:
    """A row a view and contrast, the primary one first in each; no rows where none is asked for."""
    head = ["contrast", "primary", "arm", "against", "ratio", "model", "point", "metric", "reference"]
    rows = [
        {
            **dict(
                zip(
                    head,
                    (c.name, c.primary, c.arm, c.against, c.ratio, c.model, c.point, c.metric, view),
                    strict=True,
                )
            ),
            **_interval(c.interval),
            "p_holm": c.p_holm,
            "favours": c.favours or "",
        }
        for view, contrasts in by_view.items()
        for c in contrasts
    ]
    return pd.DataFrame(rows, columns=[*head, *INTERVAL, "p_holm", "favours"])


def verdict_rows(verdicts: list[Verdict]) -> pd.DataFrame:
    """A row a claim and part; a claim that was not tested has one row without an interval."""
    head = ["claim", "verdict", "sentence", "why"]
    parts = ["part", "decides", "part_verdict", "unit", "claimed"]
    rows: list[dict[str, Any]] = []
    for v in verdicts:
        said = {"claim": v.claim, "verdict": v.verdict, "sentence": v.sentence, "why": v.why}
        for p in v.parts:
            found = dict(zip(parts, (p.what, p.decides, p.verdict, p.unit, p.claimed), strict=True))
            rows.append({**said, **found, **_interval(p.interval)})
        if not v.parts:
            rows.append(said)
    return pd.DataFrame(rows, columns=[*head, *parts, *INTERVAL])


def _interval(interval: Interval) -> dict[str, float]:
    return {name: getattr(interval, name) for name in INTERVAL}
