"""Whether the gate of a rater finds a source whose pairs are flawed, and what groups change of a rating.

    python -m benchmarks.groups DATA [--seeds 60,61,62] [--raters NAME,…]

DATA is the folder `data` of a repo whose stages went as far as rate, of a pool with planted truth. Of each
rater and seed: the AUC with which its rating has informative pairs above all others; of a pool with sources
that with which it has pairs of good ones above those of bad ones, and the place of the bad one among all
(1: the lowest; of several the highest) by its mean rating and, where groups are sources, by the gate, with
the weight that the gate gives it, of one for a pair of the pool; Spearman's correlation with the rating
without a gate and with that of the next seed; and, of a gate that is one number a step, where it ended, and
from which image of the training on it stood beyond .01 or .99 (`log` of rating.json, a line every ten steps).
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from alchemist.analysis.agreement import auc
from alchemist.core import files
from alchemist.pools.row import ORIGIN
from alchemist.pools.store import read_extra
from alchemist.pools.truth import read_labels, read_truth

PLAIN = "alchemist_no_group"


def place(values: "pd.Series[float]", worst: list[str]) -> int:
    """The place, from 1 for the lowest value, of the highest of `worst` among all names."""
    return int(values.rank(method="max")[worst].max())


def ratings(data: Path, rater: str, seed: int) -> "pd.Series[float] | None":
    """By id; None where the rater was not run with the seed."""
    path = data / "ratings" / rater / f"{seed}.parquet"
    return pd.read_parquet(path).set_index("id")["rating"] if path.is_file() else None


def gate(log: list[dict[str, float]]) -> dict[str, float]:
    """Where a gate ended, and from which image on it stood at a bound; NaN where it did not, {} of none."""
    path = pd.Series({one["images"]: one["gate"] for one in log if "gate" in one}, dtype=float)
    if path.empty:  # no rater with a gate
        return {}
    inside = path[path.between(0.01, 0.99)]
    after = path[path.index > inside.index[-1]] if len(inside) else path
    return {"gate": float(path.iloc[-1]), "at a bound from": float(after.index[0]) if len(after) else np.nan}


def figures(data: Path, rater: str, seeds: list[int], seed: int) -> dict[str, float] | None:
    """The figures of a rater and a seed; None where it was not run."""
    rating = ratings(data, rater, seed)
    if rating is None:
        return None
    kinds = read_truth(data / "truth").set_index("id")["kind"].reindex(rating.index)
    out = {"auc informative": auc(rating, (kinds == "informative").to_numpy())}
    facts = files.read_json(data / "raters" / rater / str(seed) / "rating.json")
    if "groups" not in facts and rater != PLAIN:
        out |= gate(facts["log"])
    labels = read_labels(data / "truth")
    if len(labels):
        is_bad = labels.set_index("id")["bad_source"].reindex(rating.index).astype(bool)
        origin = read_extra(data / "pool").set_index("id")[ORIGIN].reindex(rating.index)
        worst = sorted(origin[is_bad].unique())
        out |= {
            "auc bad": auc(rating, ~is_bad.to_numpy()),
            "place": place(rating.groupby(origin).mean(), worst),
        }
        gates = pd.Series(
            {one["name"]: one["weight"] for one in facts.get("groups", []) if "weight" in one}, dtype=float
        )
        if set(worst) <= set(gates.index) and gates.std() > 1e-9:  # under group within all are one
            out |= {"place by gate": place(gates, worst), "weight": float(gates[worst].mean())}
    for name, other in (
        ("with plain", ratings(data, PLAIN, seed)),
        ("with next seed", ratings(data, rater, seeds[(seeds.index(seed) + 1) % len(seeds)])),
    ):
        if other is not None and other.index.equals(rating.index):
            out[name] = float(rating.corr(other, method="spearman"))
    return out


def main() -> None:
    """Prints a line a rater and seed, and a line of means a rater."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--seeds", default="60,61,62")
    parser.add_argument("--raters")
    asked = parser.parse_args()
    seeds = [int(one) for one in asked.seeds.split(",")]
    folder = asked.data / "ratings"
    raters = asked.raters.split(",") if asked.raters else sorted(one.name for one in folder.iterdir())
    rows = {
        (rater, str(seed)): found
        for rater in raters
        for seed in seeds
        if (found := figures(asked.data, rater, seeds, seed)) is not None
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    means = table.groupby(level=0).mean()
    means.index = pd.MultiIndex.from_product([means.index, ["mean"]])
    with pd.option_context("display.width", 200, "display.max_columns", None):
        print(pd.concat([table, means]).sort_index().replace(np.nan, None).round(3).to_string(na_rep="-"))


if __name__ == "__main__":
    main()
