"""The ledger: where every pair of the pool went, checked arm by arm and seed by seed."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from alchemist.analysis.grid import FULL, Study
from alchemist.analysis.words import DASH, number
from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.pools.row import SPLITS
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Subsets


@dataclass(frozen=True)
class Account:
    """Where all pairs of the pool went in one arm and seed: kept + pruned + rejected = total.

    Rejected are those that are not rated, too: copies beyond keep in held-out splits.
    """

    selection: str
    ratio: float
    seed: int | None  # None for the full data, which no seed draws
    kept: int
    pruned: int
    rejected: dict[str, int]  # by reason
    total: int


def ledger(pool: pd.DataFrame, subsets: Subsets) -> list[Account]:
    """An account of every arm and seed, the full data first.

    `pool` is the index of the split that is pruned, and `subsets` what cells train on; or of all of the
    pool's own pairs, and the ids worth training on. Raises Refusal where a subset holds an id twice or one
    that is no usable pair of the pool, or where an account does not add up.
    """
    rated = (pool["status"] == "ok") & (pool["reason"] == "")
    usable = pool.loc[rated, "id"]
    reasons = pool.loc[~rated, "reason"].value_counts()
    rejected = {str(reason): int(count) for reason, count in sorted(reasons.items())}
    arms: list[tuple[str, float, int | None, pd.Series[str]]] = [(FULL, 1.0, None, usable)]
    arms += [(*arm, ids) for arm, ids in subsets.items()]
    accounts, numbers = [], pd.Index(usable)  # whose look-up is many times as fast as `isin` of strings
    for name, ratio, seed, ids in arms:
        at = numbers.get_indexer(pd.Index(ids))
        stray = ids[at < 0]
        if len(stray):
            raise Refusal(
                f"the subset {name} at {ratio}, seed {seed}, holds '{one_line(stray.iloc[0])}', which is no "
                "usable pair of the pool; run dvc repro."
            )
        kept, pruned = len(ids), len(usable) - len(np.unique(at))
        if kept + pruned + sum(rejected.values()) != len(pool):
            raise Refusal(
                f"the ledger of {name} at {ratio}, seed {seed}, does not add up: {kept} kept + {pruned} "
                f"pruned + {sum(rejected.values())} rejected are not {len(pool)} pairs; run dvc repro."
            )
        accounts.append(Account(name, ratio, seed, kept, pruned, rejected, len(pool)))
    return accounts


def merged(accounts: list[Account]) -> list[tuple[Account, list[int]]]:
    """Accounts of one arm that are alike but for the seed as one, with their seeds."""
    out: list[tuple[Account, list[int]]] = []
    for account in accounts:
        seeds = [] if account.seed is None else [account.seed]
        if out and replace(out[-1][0], seed=account.seed) == account:
            out[-1][1].extend(seeds)
        else:
            out.append((account, seeds))
    return out


def check_sizes(study: Study, accounts: list[Account], scores: Mapping[str, dict[str, Any]]) -> None:
    """Raises Refusal where a cell was trained on another number of pairs than its subset holds."""
    kept = {(account.selection, account.ratio, account.seed): account.kept for account in accounts}
    for cell in study.cells():
        trained = scores[cell.name]["subset_pairs"]
        here = kept[cell.selection, cell.ratio, None if cell.selection == FULL else cell.seed]
        if trained != here:
            raise Refusal(
                f"the cell {cell.name} was trained on {trained} pairs, but its subset holds {here}; "
                "run dvc repro."
            )


def ledger_table(accounts: list[Account]) -> Table:
    """The accounts as the page shows them: alike ones of several seeds in one row."""
    reasons = list(accounts[0].rejected)
    head = [
        "subset",
        "seeds",
        "kept",
        "pruned",
        "rejected",
        *(f"of it: {reason}" for reason in reasons),
        "all",
    ]
    rows = []
    for a, seeds in merged(accounts):
        counts = [a.kept, a.pruned, sum(a.rejected.values()), *(a.rejected[r] for r in reasons), a.total]
        drawn = ", ".join(map(str, seeds)) or DASH
        rows.append([arm_name(a.selection, a.ratio), drawn, *map(number, counts)])
    return Table(head, rows, left=2)


def licences(card: Mapping[str, Any]) -> str:
    """The licence of the pool's images, and of those of pools that are splits of it."""
    own, others = card.get("licence", "not stated"), card.get("others", {})
    told = [f"{card['pool']}: {own}"] if others else [own]
    return "; ".join([*told, *(f"{name}: {other['licence']}" for name, other in others.items())])


def split_table(card: Mapping[str, Any]) -> Table:
    """Counts of every split; the store counts usable pairs under `ok`, others under their reason.

    By source too, where another pool is a split. Raises Refusal where the sources do not add up.
    """
    sources: Mapping[str, Any] = card["sources"]
    for split in SPLITS:
        added = sum((Counter(counts.get(split, {})) for counts in sources.values()), Counter[str]())
        if added != Counter(card["counts"].get(split, {})):
            raise Refusal(f"the counts of the pool's sources do not add up in split {split}; run dvc repro.")
    rows = []
    for source, splits in sources.items():
        for split in card["counts"]:
            counts = dict(splits.get(split, {}))
            usable = counts.pop("ok", 0)
            if counts or usable or len(sources) == 1:
                told = [split, number(usable), number(sum(counts.values()))]
                rows.append(told if len(sources) == 1 else [source, *told])
    head = ["split", "usable", "rejected"]
    return Table(head, rows) if len(sources) == 1 else Table(["pool", *head], rows, left=2)
