"""How alike raters rank a pool, and where each puts the kinds that were planted.

    python -m benchmarks.ranks [--data data] RATER RATER …

Reads the ratings of a grid whose stages went as far as `rate`: all that lie there, also an earlier grid's.
Of every two raters a line of Spearman's correlation over the split pool, seed by seed: mean, least and
largest. Of a rater with itself it is that of its seeds, which no other rater of a like noise can exceed.
Then, of a composed pool, each rater's mean percentile of a kind (near 0 for the best), mean and standard
deviation over seeds.
"""

import argparse
import math
from pathlib import Path

import pandas as pd

from alchemist.analysis.agreement import RankCorrelation, Ratings, rank_correlations
from alchemist.core import tables
from alchemist.core.refusal import Refusal
from alchemist.pools.truth import read_truth
from alchemist.report.makeup import kind_percentiles


def read(folder: Path, raters: list[str]) -> Ratings:
    """Ratings by id of each rater and seed that lies there, of the pairs of the split pool.

    One that needs no seed stands under every seed of the others.
    """
    tables_of = {rater: sorted((folder / rater).glob("*.parquet")) for rater in raters}
    for rater, paths in tables_of.items():
        if not paths:
            raise SystemExit(f"{folder / rater} has no rating; run dvc repro with {rater} in the grid.")
    seeds = {int(path.stem) for paths in tables_of.values() for path in paths if path.stem != "all"}
    out: dict[str, dict[int, pd.Series[float]]] = {}
    for rater, paths in tables_of.items():
        found = {path.stem: _rating(path) for path in paths}
        if "all" in found:
            out[rater] = dict.fromkeys(sorted(seeds) or [0], found["all"])
        else:
            out[rater] = {int(name): rating for name, rating in found.items()}
    return out


def _rating(path: Path) -> "pd.Series[float]":
    table = tables.read(path, ["id", "rating", "lent"]).query("not lent")
    return table.set_index("id")["rating"]


def words(c: RankCorrelation) -> str:
    """What a line says of two raters, also where nothing can be compared."""
    if not c.n:
        return (
            "nothing to compare, one seed" if c.first == c.second else "nothing to compare, no seed of both"
        )
    if math.isnan(c.mean):
        return f"nothing to compare, a rating is constant, n {c.n}"
    return f"Spearman {c.mean:.3f} [{c.low:.3f}, {c.high:.3f}], n {c.n}"


def main() -> None:
    """Prints a line for every two raters, and one for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("raters", nargs="+")
    parser.add_argument("--data", type=Path, default=Path("data"))
    asked = parser.parse_args()
    ratings = read(asked.data / "ratings", list(dict.fromkeys(asked.raters)))
    try:
        planted = read_truth(asked.data / "truth").set_index("id")["kind"]
    except Refusal as error:
        raise SystemExit(str(error)) from None
    for c in rank_correlations(ratings):
        print(f"{c.first}, {c.second}: {words(c)}")
    for rater, by_seed in ratings.items() if len(planted) else ():
        places = []
        for kind, of in kind_percentiles(by_seed, planted).items():
            places.append(f"{kind} {of.mean:.1f}" + ("" if of.sd is None else f" (sd {of.sd:.1f})"))
        print(f"{rater}: {', '.join(places)}")


if __name__ == "__main__":
    main()
