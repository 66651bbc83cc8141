"""One pair, explained in lines for a terminal: what it is, how it was rated, and which subsets hold it."""

from collections.abc import Mapping, Set
from typing import Any

import pandas as pd

from alchemist.analysis.agreement import percentiles
from alchemist.analysis.grid import Study
from alchemist.analysis.words import number
from alchemist.core.one_line import one_line
from alchemist.pruning.laws import law_of, whys
from alchemist.pruning.sampler import Sampler
from alchemist.raters.kinds.loss import LossRater
from alchemist.report.elements import arm_name

CAPTION = 300  # letters of a caption
Arm = tuple[str, float]


def about(row: Any) -> list[str]:
    """What a row of the index says of its pair: caption, split, and why it was rejected, if it was."""
    where = (
        f"of the pool {row.source}" if row.split == "pool" else f"of the split {row.split}, from {row.source}"
    )
    state = "usable" if row.status == "ok" else f"rejected: {one_line(row.reason or row.status)}"
    lent = ", lent to it, and rated like the pool's" if row.lent else ""
    return [f"{one_line(row.id)}: {one_line(row.caption, CAPTION)}", f"  {where}{lent}; {state}"]


def ratings(study: Study, name: str, found: Mapping[str, "pd.Series[float]"]) -> list[str]:
    """A line a rater: rating and rank of the pair, 0 % the best; the proxy's loss where one rates by it."""
    width = max(map(len, found))
    out = []
    for rater, rating in found.items():
        settings, value = study.raters[rater], float(rating[name])
        rank = float(percentiles(rating)[name])
        loss = (
            f"   loss under the proxy {value * settings.direction:.4g}"
            if isinstance(settings, LossRater)
            else ""
        )
        out.append(f"  {rater:<{width}}  {value:>12.5g}  rank {number(rank, 1):>5} %{loss}")
    return out


def subsets(
    study: Study, seed: int, name: str, found: Mapping[str, "pd.Series[float]"], kept: Mapping[Arm, Set[str]]
) -> list[str]:
    """A line an arm: whether its subset holds the pair, and why, in the words of the law."""
    width = max(len(arm_name(*arm)) for arm in kept)
    out = []
    for arm, ids in kept.items():
        law = study.selections[arm[0]]
        assert isinstance(law, Sampler)
        (why,) = whys(found[law.rater], ids, [name], law_of(law, seed), arm[1])
        out.append(f"  {arm_name(*arm):<{width}}  {'kept' if name in ids else 'pruned':<6}  {why}")
    return out


def neighbours(found: pd.DataFrame) -> list[str]:
    """A line a neighbour, of rows with the columns id, caption and cosine."""
    rows = zip(found["cosine"], found["id"], found["caption"], strict=True)
    return [f"  {cosine:.3f}  {one_line(name)}: {one_line(caption, 80)}" for cosine, name, caption in rows]
