"""The figures by other references, where a pool has copies or a clean split: the views of one generation.

Those by the view that decides stand at the head of a checkpoint; those by every view beside them, under the
same full names (`alchemist.measures.references`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alchemist.analysis.grid import Study
from alchemist.analysis.metrics import better
from alchemist.analysis.results import Result, tidy

Scores = Mapping[str, dict[str, Any]]  # by cell, as `results.read_scores` gives them
WORDS = {
    "once": "copies counted once",
    "as_is": "as drawn, copies and all",
    "clean": "the clean pool",
    "unseen": "captions that the pool lacks",
}
Arm = tuple[str, float]


def references(score: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Prompts and references of each view of a cell's scores, the deciding one first; none for most pools."""
    found = score["checkpoints"][-1].get("references", {})
    ordered = sorted(found, key=lambda name: (name != score["decides"], list(WORDS).index(name)))
    return {name: (found[name]["n"], found[name]["reference_n"]) for name in ordered}


def of_reference(scores: Scores, name: str) -> dict[str, dict[str, Any]]:
    """The scores with the figures by a view in the place of those by the deciding one.

    What `results.tidy` and `results.results` make of scores they make of these.
    """
    return {
        cell: {**score, "checkpoints": [{**at, **at["references"][name]} for at in score["checkpoints"]]}
        for cell, score in scores.items()
    }


def tables(study: Study, scores: Scores) -> dict[str, pd.DataFrame]:
    """What `results.tidy` makes of the figures by each view, the deciding one first."""
    first = next(iter(scores.values()))
    if not (views := references(first)):
        return {first["decides"]: tidy(study, scores)}
    return {name: tidy(study, of_reference(scores, name)) for name in views}


def sized(score: Mapping[str, Any], by_view: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """All of `tables` in one: column `reference`, and `n` and `reference_n`, its prompts and references."""
    sizes = references(score) or {score["decides"]: (score["n"], score["reference_n"])}
    rows = [
        table.assign(reference=name, n=sizes[name][0], reference_n=sizes[name][1])
        for name, table in by_view.items()
    ]
    return pd.concat(rows, ignore_index=True)


def places(rows: Sequence[Result], metric: str) -> dict[Arm, int]:
    """The place of each arm by a metric, 1 for the best; equal figures stand in the order of the rows."""
    sign = -better(metric)
    ordered = sorted(rows, key=lambda row: sign * row.figures[metric].mean)
    return {(row.selection, row.ratio): place for place, row in enumerate(ordered, 1)}


def swapped(rows: Sequence[Result], others: Sequence[Result], metric: str) -> list[tuple[Arm, Arm]]:
    """Pairs of arms of which the first is better by `rows` and worse by `others`, the most marked first.

    How marked is by the smaller of both gaps, each as a share of the spread of its own rows.
    """
    sign = better(metric)
    mine, theirs = (
        {(r.selection, r.ratio): sign * r.figures[metric].mean for r in x} for x in (rows, others)
    )
    spread = [max(means.values()) - min(means.values()) or 1.0 for means in (mine, theirs)]
    found = [
        (min((mine[a] - mine[b]) / spread[0], (theirs[b] - theirs[a]) / spread[1]), a, b)
        for a in mine
        for b in mine
        if mine[a] > mine[b] and theirs[a] < theirs[b]
    ]
    return [(a, b) for _, a, b in sorted(found, key=lambda item: -item[0])]
