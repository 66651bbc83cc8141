"""What ratings and subsets are made of: deciles, planted kinds, losses along a rating."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from alchemist.analysis.agreement import percentiles
from alchemist.analysis.grid import FULL
from alchemist.analysis.results import Stat
from alchemist.analysis.words import DASH, number
from alchemist.core.settings.rater import seeded
from alchemist.pruning import laws
from alchemist.report.chart import Chart, among
from alchemist.report.elements import KINDS, Table, add, arm_name
from alchemist.report.material import Material, Subsets
from alchemist.report.words import told

BySeed = Mapping[int, "pd.Series[float]"]
KIND_COLOURS = dict(
    zip(KINDS, ("#0072B2", "#BBBBBB", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9"), strict=True)
)


def deciles(rating: "pd.Series[float]") -> "pd.Series[int]":
    """Decile of every pair, 0 for the best tenth; equal ratings in the order of the ids' hashes."""
    table = pd.DataFrame({"id": rating.index, "rating": rating.to_numpy()})
    best_first = laws.percentile_ranks(table, seed=0).index
    return pd.Series(np.arange(len(rating)) * 10 // len(rating), index=best_first).reindex(rating.index)


def decile_shares(rating: "pd.Series[float]", kinds: "pd.Series[str]") -> pd.DataFrame:
    """Share of each planted kind in each decile, rows 0 to 9; a row sums to 1."""
    return pd.crosstab(deciles(rating).to_numpy(), kinds.reindex(rating.index).to_numpy(), normalize="index")


def mean_decile_shares(by_seed: BySeed, kinds: "pd.Series[str]") -> pd.DataFrame:
    """`decile_shares` as a mean over seeds."""
    shares = [decile_shares(rating, kinds) for rating in by_seed.values()]
    return pd.concat(shares).groupby(level=0).mean()


def kind_percentiles(by_seed: BySeed, kinds: "pd.Series[str]") -> dict[str, Stat]:
    """Mean percentile of each planted kind, over seeds."""
    means = pd.DataFrame(
        {
            seed: percentiles(rating).groupby(kinds.reindex(rating.index)).mean()
            for seed, rating in by_seed.items()
        }
    )
    return {str(kind): Stat.of(row) for kind, row in means.iterrows()}


def loss_bands(by_seed: BySeed, losses: BySeed) -> pd.DataFrame:
    """Mean loss of each decile of a rating, rows 1 (best) to 10, a column a seed.

    `losses` are by seed and id, and the means in their unit.
    """
    means = {seed: losses[seed].groupby(deciles(rating) + 1).mean() for seed, rating in by_seed.items()}
    return pd.DataFrame(means)


def subset_shares(subsets: Subsets, kinds: "pd.Series[str]") -> dict[tuple[str, float], dict[str, float]]:
    """Share of each planted kind in every subset, mean over seeds, and in all of `kinds` as the full data."""
    made = {(FULL, 1.0): [kinds.value_counts(normalize=True)]}
    for (name, ratio, _), ids in subsets.items():
        made.setdefault((name, ratio), []).append(kinds.reindex(ids).value_counts(normalize=True))
    means = {arm: pd.DataFrame(shares).fillna(0.0).mean() for arm, shares in made.items()}
    return {arm: {str(k): float(v) for k, v in shares.items()} for arm, shares in means.items()}


def shares_chart(title: str, shares: pd.DataFrame) -> Chart:
    """Bars of shares (rows: deciles from 0 on, columns: kinds), the kinds in the order of their colours."""
    kinds = [kind for kind in KIND_COLOURS if kind in shares]
    rows = [
        {"decile": decile, "kind": kind, "place": place, "share": 100 * share}
        for place, kind in enumerate(kinds)
        for decile, share in enumerate(shares[kind].tolist(), 1)
    ]
    along = "decile of the rating, 1 = best"
    return Chart(
        "shares", title, pd.DataFrame(rows), "decile", along, "% of the decile", among(KIND_COLOURS, kinds)
    )


def makeup(material: Material, charts: dict[str, Chart]) -> dict[str, Any] | None:
    """The section on planted kinds: in the deciles of each rating, and in each subset; None without truth."""
    if material.kinds is None:
        return None
    panels = []
    for i, rater in enumerate(material.ratings):
        shares = mean_decile_shares(material.ratings[rater], material.kinds)
        chart = shares_chart(f"What {rater} rates how", shares)
        panels.append(add(charts, f"deciles-{i}", chart))
    rows = []
    for rater, by_seed in material.ratings.items():
        means = kind_percentiles(by_seed, material.kinds)
        if not seeded(material.study.raters[rater]):
            means = {kind: Stat(stat.mean, None, 1) for kind, stat in means.items()}
        rows.append([rater, *(told(means[kind], 1) if kind in means else DASH for kind in KINDS)])
    made = subset_shares(material.subsets, material.kinds)
    return {
        "panels": panels,
        "separation": Table(["rater", *KINDS], rows),
        "subsets": Table(
            ["subset", *(f"{kind}, %" for kind in KINDS)],
            [
                [arm_name(*arm), *(number(100 * shares.get(kind, 0.0), 1) for kind in KINDS)]
                for arm, shares in made.items()
            ],
        ),
    }
