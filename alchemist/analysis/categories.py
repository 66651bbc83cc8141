"""The figures of each category of the evaluation images, as MJHQ-30K has ten of them.

A category's figures stand beside those of all images in the scores, under the same full names; FD where a
category has enough images on both sides, or else KID (`alchemist.measures.figures.by_category`).
"""

from collections.abc import Mapping
from typing import Any

from alchemist.analysis.metrics import columns

Scores = Mapping[str, dict[str, Any]]  # by cell, as `results.read_scores` gives them


def categories(score: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Images and references of each category of a cell's scores, by name; empty for most pools."""
    found = score["checkpoints"][-1].get("categories", {})
    return {name: (held["n"], held["reference_n"]) for name, held in found.items()}


def of_category(scores: Scores, category: str) -> dict[str, dict[str, Any]]:
    """The scores with a category's figures in the place of those of all images, NaN where it has none.

    What `results.tidy` and `results.results` make of scores they make of these.
    """
    out = {}
    for name, score in scores.items():
        missing = dict.fromkeys(columns(score["names"], score["likelihood"]).values(), float("nan"))
        checkpoints = [{**at, **missing, **at["categories"][category]} for at in score["checkpoints"]]
        out[name] = {**score, "checkpoints": checkpoints}
    return out
