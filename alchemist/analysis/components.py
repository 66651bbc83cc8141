"""Where the spread of a figure comes from: variance components of a balanced nested design.

Figures of one arm, made anew at some level and at all below it: another rater, another subset of its rating,
another training on that subset, another draw of images from that training. Expected mean squares of the
nested analysis of variance give each level's own variance (Searle, Casella & McCulloch 1992, chapter 4).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Component:
    """The variance that one level adds."""

    level: str
    variance: float  # in the figure's unit squared; below 0 where the estimate is, which is near 0
    freedom: int  # degrees of freedom of its mean square
    count: int  # how many of it stand under one of the level above


def components(table: pd.DataFrame, levels: Sequence[str], figure: str) -> list[Component]:
    """The variance of every level, the outermost first; 0 for one with a single member under each.

    `table` has a row a measurement, with a column a level and one of the figure. Raises ValueError where the
    design is not balanced: every member of a level has as many of the next, and each at least one row.
    """
    values, parents = table, list(levels)
    rows = table.groupby(parents, sort=False)[figure].size()
    if len(rows) != len(table):
        raise ValueError(f"a combination of {', '.join(levels)} has more than one row")
    out: list[Component] = []
    below, size = 0.0, 1  # mean square of the level below, and rows under a member of this level
    for depth in range(len(levels) - 1, -1, -1):
        above = parents[:depth]
        means = values.groupby(parents[: depth + 1], sort=False)[figure].mean().reset_index()
        groups = means.groupby(above, sort=False)[figure] if above else None
        counts = groups.size() if groups is not None else pd.Series([len(means)])
        if counts.nunique() > 1:
            raise ValueError(f"the level {levels[depth]} has from {counts.min()} to {counts.max()} members")
        count = int(counts.iloc[0])
        centre = groups.transform("mean") if groups is not None else means[figure].mean()
        freedom = len(means) - len(counts)
        if freedom:
            square = size * float(((means[figure] - centre) ** 2).sum()) / freedom
            out.append(Component(levels[depth], (square - below) / size, freedom, count))
            below = square
        else:
            out.append(Component(levels[depth], 0.0, 0, count))
        size *= count
    return out[::-1]


def variance_of_mean(found: Sequence[Component], counts: Mapping[str, int]) -> float:
    """The variance of an arm's mean over a design with `counts` of each level under one of the level above.

    Components below 0 count as 0. The unit of replication is the outermost level.
    """
    total, members = 0.0, 1
    for one in found:
        members *= counts.get(one.level, 1)
        total += max(one.variance, 0.0) / members
    return total
