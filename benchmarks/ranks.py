"""How alike raters rank a pool, and where each puts the kinds that were planted.

    python -m benchmarks.ranks [--data data] RATER RATER …

Reads the ratings of a grid whose stages went as far as `rate`: all that lie there, also an earlier grid's.
Of every two raters a line of Spearman's correlation over the split pool, seed by seed: mean, least and
largest. Of a rater with itself it is that of its seeds, which no other rater of a like noise can exceed.
Then, of a composed pool, each rater's mean percentile of a kind (near 0 for the best), mean and standard
deviation over seeds.
"""

import argparse
from pathlib import Path

import pandas as pd

from alchemist.analysis.agreement import Ratings, percentiles, rank_correlations
from alchemist.core import tables
from alchemist.core.refusal import Refusal
from alchemist.pools.truth import read_truth


def read(folder: Path, raters: list[str]) -> Ratings:
    """Ratings by id of each rater and seed that lies there, of the pairs of the split pool.

    One that needs no seed stands under every seed of the others.
    """
    out: dict[str, dict[int, pd.Series[float]]] = {}
    for rater in raters:
        for path in sorted((folder / rater).glob("*.parquet")):
            table = tables.read(path, ["id", "rating", "lent"]).query("not lent").set_index("id")
            out.setdefault(rater, {})[-1 if path.stem == "all" else int(path.stem)] = table["rating"]
        if rater not in out:
            raise SystemExit(f"{folder / rater} has no rating; run dvc repro with {rater} in the grid.")
    seeds = sorted({seed for found in out.values() for seed in found if seed >= 0}) or [0]
    return {n: dict.fromkeys(seeds, found[-1]) if -1 in found else found for n, found in out.items()}


def of_kinds(ratings: Ratings, kinds: "pd.Series[str]") -> dict[str, dict[str, tuple[float, float]]]:
    """Mean percentile of each kind by rater: mean and standard deviation over seeds, NaN of one."""
    out = {}
    for rater, by_seed in ratings.items():
        rows = pd.DataFrame(
            {seed: percentiles(one).groupby(kinds.reindex(one.index)).mean() for seed, one in by_seed.items()}
        ).T
        both = zip(rows.mean(), rows.std(ddof=1), strict=True)
        out[rater] = {str(kind): (float(a), float(b)) for kind, (a, b) in zip(rows, both, strict=True)}
    return out


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
        print(f"{c.first}, {c.second}: Spearman {c.mean:.3f} [{c.low:.3f}, {c.high:.3f}], n {c.n}")
    for rater, found in of_kinds(ratings, planted).items() if len(planted) else ():
        places = ", ".join(f"{kind} {mean:.1f} (sd {sd:.1f})" for kind, (mean, sd) in found.items())
        print(f"{rater}: {places}")


if __name__ == "__main__":
    main()
