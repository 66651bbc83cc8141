"""Groups of near-duplicates among the pairs that are pruned, as far as it is known which these are."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.pools.base import NEAR

GROUPS = 24  # in the page, the largest ones
MEMBERS = 8  # of each whose pictures are in the page
DUPLICATE = "duplicate"  # planted kind


@dataclass(frozen=True)
class Group:
    """Pairs that are near-duplicates of one another: those to show, and all."""

    shown: list[str]
    every: NDArray[np.object_]  # ids


@dataclass(frozen=True)
class Groups:
    """What is known of near-duplicates; nothing where nobody looked for any and none are planted."""

    shown: list[Group] = field(default_factory=list)
    count: int = 0  # of all groups of several
    # Of the group of each pair that is in one, by id.
    sizes: "pd.Series[int]" = field(default_factory=lambda: pd.Series(dtype=int))
    planted: bool = False  # known by composition, else found by the stage copies


def groups(index: pd.DataFrame, looked: bool, kinds: "pd.Series[str] | None") -> Groups:
    """Groups of two pairs or more, those with it that were dropped as copies.

    `index` is that of the split that is pruned, `looked` whether the stage copies looked for any, and `kinds`
    planted truth by id. Exact duplicates were left out before. The largest come first; of each those first
    that are rated, by a hash of their ids. Nothing depends on the order of the index.
    """
    if looked:
        rows, by = index[(index["status"] == "ok") | (index["reason"] == NEAR)], "cluster"
    elif kinds is not None:
        rows, by = index[index["id"].isin(kinds.index[kinds == DUPLICATE])], "group"
    else:
        return Groups()
    rows = rows[rows.duplicated(by, keep=False)]
    if rows.empty:
        return Groups()
    counts = rows[by].value_counts()
    largest = sorted(zip(-counts, counts.index, strict=True))[:GROUPS]
    here = rows[rows[by].isin([name for _, name in largest])]
    places = stateless.id_uniforms(here["id"], "report groups")
    here = here.iloc[np.lexsort((places, here["status"] != "ok"))]
    parts = {name: part["id"].to_numpy(object) for name, part in here.groupby(by, sort=False)}
    return Groups(
        [Group(list(parts[name][:MEMBERS]), parts[name]) for _, name in largest],
        len(counts),
        pd.Series(counts.reindex(rows[by]).to_numpy(), index=pd.Index(rows["id"])),
        not looked,
    )
