"""Which held-out pairs are prompts and which references, and the views of them: as_is, once, clean, unseen.

Where a pool has copies, what generators are compared with decides their order, so figures are taken by
several views of one generation. `as_is`: the evaluation split as it was drawn, copies and all. `once`: that
with each cluster of copies counted once. `clean`: the split of that name, its own prompts and references.
`unseen`: the view that decides, without the prompts whose caption some pair of the pool has.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import EvaluateSettings

SPLITS = ("evaluation", "clean")  # that generators are measured on
COLUMNS = ["cluster"]  # of the index that decide which view a pair is in
VIEWS = ("as_is", "once", "clean", "unseen")
TWO = 2  # images on each side, which a distance needs

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class View:
    """Which prompts (n,) and which references (m,) count."""

    prompts: Mask
    references: Mask

    def sizes(self) -> dict[str, int]:
        """Numbers of prompts and of references."""
        return {"n": int(self.prompts.sum()), "reference_n": int(self.references.sum())}

    def same(self, other: "View") -> bool:
        """Whether both count the same pairs."""
        return np.array_equal(self.prompts, other.prompts) and np.array_equal(
            self.references, other.references
        )

    def fits(self) -> bool:
        """Whether it is enough to measure on."""
        return bool(min(self.prompts.sum(), self.references.sum()) >= TWO)


def drawn(rows: pd.DataFrame) -> int:
    """How many of the rows are of the evaluation split."""
    return int((rows["split"] == "evaluation").sum())


def sides(
    rows: pd.DataFrame, settings: EvaluateSettings, where: str = "evaluate"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows (id, split, cluster, …) that are prompts and those that are references, a bool column a view.

    `rows`: all usable ones of `SPLITS`, in the order of a hash of their ids, of which the last are prompts;
    with a column `in_pool`, whether the pool has its caption, there is the view `unseen`. Views that are the
    same as another, and those too small to measure on, have no column.
    Raises Refusal where a split or the deciding view is too small, naming `where`, or has no pair at all.
    """
    settings = settings.fitted(drawn(rows), where)
    clean = settings.of_clean(int((rows["split"] == "clean").sum()), where)
    prompts, references = [], []
    for split, asked in zip(SPLITS, (settings.prompts, clean), strict=True):
        part = rows[rows["split"] == split]
        count = len(part) - asked
        prompts.append(part.iloc[count:])
        references.append(part if settings.references == "all" else part.iloc[:count])
    mine, theirs = pd.concat(prompts), pd.concat(references)
    found = {name: View(_in(name, mine, rows), _in(name, theirs, rows)) for name in VIEWS[:3]}
    deciding = found[settings.decides]
    if "in_pool" in rows:
        new = deciding.prompts & ~mine["in_pool"].to_numpy(bool)
        found["unseen"] = View(new, deciding.references)
    if not deciding.fits():
        raise Refusal(_too_small(deciding, settings, where))
    kept: dict[str, View] = {settings.decides: deciding}
    for name, view in found.items():
        if view.fits() and not any(view.same(other) for other in kept.values()):
            kept[name] = view
    for name, view in kept.items():
        mine, theirs = mine.assign(**{name: view.prompts}), theirs.assign(**{name: view.references})
    return mine, theirs


def _in(name: str, side: pd.DataFrame, rows: pd.DataFrame) -> Mask:
    """Which rows of a side are in a view."""
    clean = (side["split"] == "clean").to_numpy()
    if name == "clean":
        return clean
    return ~clean & side["id"].isin(_first(rows)).to_numpy() if name == "once" else ~clean


def _first(rows: pd.DataFrame) -> "pd.Series[str]":
    """The id of each cluster of the evaluation that stands for it.

    By a hash of its own: the first in the order by which sides are divided would most often be a reference.
    """
    held = rows[rows["split"] == "evaluation"]
    draws = stateless.id_uniforms(held["id"], "stands for its copies")
    return held.iloc[np.argsort(draws, kind="stable")].drop_duplicates("cluster")["id"]


def _too_small(view: View, settings: EvaluateSettings, where: str) -> str:
    counts = int(view.prompts.sum()), int(view.references.sum())
    return (
        f"{where}.decides is {settings.decides}, which leaves {counts[0]} prompts and {counts[1]} "
        f"references, copies counted once; at least {TWO} of each are needed; as_is is legal."
    )


def views(prompts: pd.DataFrame, references: pd.DataFrame, decides: str) -> Mapping[str, View]:
    """The views that tables as `sides` gives them hold, the one that decides first.

    Raises Refusal where that one is not among them.
    """
    if decides not in prompts:
        raise Refusal(f"the floors hold no prompts of evaluate.decides {decides}; run dvc repro.")
    names = [name for name in VIEWS if name in prompts and name != decides]
    return {
        name: View(prompts[name].to_numpy(bool), references[name].to_numpy(bool))
        for name in (decides, *names)
    }
