"""reports/history.csv: what every full run found, a row a comparison. Rows are added, and none is dropped."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from alchemist.analysis.registered import Judged

COLUMNS = [
    "run", "commit", "registered", "pool", "scale", "reference", "claim", "what", "metric", "point",
    "decides", "n", "mean", "low", "high", "p", "verdict",
]  # fmt: skip
# Of one row: figure and verdict too, so that what was found otherwise at the same commit is added beside.
KEY = [name for name in COLUMNS if name not in ("decides", "low", "high", "p")]


def empty() -> pd.DataFrame:
    """A history of nothing."""
    return pd.DataFrame(columns=COLUMNS)


def added(past: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The history with further rows at its end. One that stands there already is not added again."""
    known = set(_keys(past))
    new = [key not in known for key in _keys(rows)]
    return pd.concat([past, rows[new]], ignore_index=True)[COLUMNS] if any(new) else past


def _keys(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """What tells rows apart, alike for a table that was read from CSV, where counts may be floats."""
    columns = [table[name].astype(float if name in ("n", "mean") else object).map(_text) for name in KEY]
    return list(zip(*columns, strict=True))


def _text(value: Any) -> str:
    if value is None or str(value) == "nan":
        return ""
    return f"{value:.9g}" if isinstance(value, float) else str(value)  # as far as sums agree anywhere


def of_study(name: str, commit: str, registered: str, found: Sequence[Judged], scale: str) -> pd.DataFrame:
    """The rows of a registered study at a look, in all metrics, points and references.

    `commit` is that of the code which made its last part.
    """
    rows = [
        {
            "run": name,
            "commit": commit,
            "registered": registered,
            "pool": one.pool,
            "scale": scale,
            "reference": one.reference,
            "claim": one.claim,
            "what": _arms(one.asked.arm, one.asked.against, one.asked.ratio, one.asked.model),
            "metric": one.metric,
            "point": one.asked.point,
            "decides": one.decides,
            "n": one.outcome.interval.n,
            "mean": one.outcome.interval.mean,
            "low": one.outcome.interval.low,
            "high": one.outcome.interval.high,
            "p": one.outcome.interval.p_t,
            "verdict": f"{one.outcome.word}: {one.outcome.why}",
        }
        for one in found
    ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _arms(arm: object, against: object, ratio: Any, model: object) -> str:
    return f"{arm} less {against} at {ratio:g}, model {model}"


def of_report(run: str, commit: str, contrasts: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """The rows of a run by its contrasts.csv and verdicts.csv: contrasts, then the parts of the claims."""
    decides = contrasts["reference"].iloc[0] if "reference" in contrasts and len(contrasts) else ""
    rows = [
        {
            "reference": getattr(row, "reference", ""),
            "claim": f"contrast {row.contrast}",
            "what": _arms(row.arm, row.against, row.ratio, row.model),
            "metric": row.metric,
            "point": row.point,
            # By other views the same contrast stands beside; the one that decides is written first.
            "decides": bool(row.primary) and getattr(row, "reference", "") == decides,
            **{key: getattr(row, key) for key in ("n", "mean", "low", "high", "pool", "scale")},
            "p": row.p_t,
            "verdict": f"favours {row.favours}" if isinstance(row.favours, str) else "undecided",
        }
        for row in contrasts.itertuples(index=False)
    ]
    rows += [
        {
            "reference": "",
            "claim": row.claim,
            "what": row.part if isinstance(row.part, str) else "",
            "metric": row.unit if isinstance(row.unit, str) else "",
            "point": "",
            "decides": row.decides is True or row.decides == "True",
            **{key: getattr(row, key) for key in ("n", "mean", "low", "high", "pool", "scale")},
            "p": row.p_t,
            "verdict": "; the claim: ".join(w for w in (row.part_verdict, row.verdict) if isinstance(w, str)),
        }
        for row in verdicts.itertuples(index=False)
    ]
    return pd.DataFrame(rows).assign(run=run, commit=commit, registered="")[COLUMNS]
