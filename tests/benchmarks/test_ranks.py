"""How alike raters rank, from tables that are written here."""

from pathlib import Path

import pandas as pd
import pytest

from alchemist.analysis.agreement import rank_correlations
from alchemist.core import tables
from alchemist.report.makeup import kind_percentiles
from benchmarks.ranks import read, words


def write(folder: Path, rater: str, seed: int | str, rating: list[float]) -> None:
    rows = {"id": list("abcdx"), "rating": [*rating, 9.0], "lent": [False] * 4 + [True]}
    path = folder / rater / f"{seed}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write(path, pd.DataFrame(rows))


def test_kinds_have_their_mean_percentiles_over_seeds_and_lent_pairs_none(tmp_path: Path) -> None:
    write(tmp_path, "one", 0, [4.0, 3.0, 2.0, 1.0])
    write(tmp_path, "one", 3, [1.0, 3.0, 2.0, 4.0])
    write(tmp_path, "two", 0, [0.1, 0.2, 0.3, 0.4])
    ratings = read(tmp_path, ["one", "two"])
    assert {rater: sorted(found) for rater, found in ratings.items()} == {"one": [0, 3], "two": [0]}
    assert list(ratings["one"][0].index) == list("abcd")
    kinds = pd.Series(["plain", "plain", "noise", "noise", "plain"], index=list("abcdx"))
    found = {rater: kind_percentiles(by_seed, kinds) for rater, by_seed in ratings.items()}
    # Of four pairs the percentiles are 12.5, 37.5, 62.5, 87.5, the best first.
    plain = found["one"]["plain"]
    assert (plain.mean, plain.sd) == pytest.approx((43.75, 26.517), abs=1e-3)  # 25 and 62.5
    assert found["one"]["noise"].mean == 56.25
    assert found["two"]["plain"].mean == 75.0


def test_a_rater_that_needs_no_seed_stands_under_every_seed(tmp_path: Path) -> None:
    write(tmp_path, "pixels", "all", [1.0, 2.0, 3.0, 4.0])
    assert list(read(tmp_path, ["pixels"])["pixels"]) == [0]
    for seed in (3, 5):
        write(tmp_path, "two", seed, [0.1, 0.2, 0.3, 0.4])
    ratings = read(tmp_path, ["pixels", "two"])
    assert list(ratings["pixels"]) == [3, 5]
    between, own = (c for c in rank_correlations(ratings) if "two" in (c.first, c.second))
    assert (between.mean, between.n) == (pytest.approx(1.0), 2)
    assert (own.mean, own.n) == (pytest.approx(1.0), 1)


def test_what_cannot_be_compared_is_told_in_words(tmp_path: Path) -> None:
    write(tmp_path, "one", 0, [4.0, 3.0, 2.0, 1.0])
    write(tmp_path, "two", 1, [1.0, 2.0, 4.0, 3.0])
    write(tmp_path, "two", 2, [1.0, 2.0, 3.0, 4.0])
    write(tmp_path, "flat", 1, [1.0, 1.0, 1.0, 1.0])
    lines = {(c.first, c.second): words(c) for c in rank_correlations(read(tmp_path, ["one", "two", "flat"]))}
    assert lines["one", "one"] == "nothing to compare, one seed"
    assert lines["one", "two"] == "nothing to compare, no seed of both"
    assert lines["two", "two"] == "Spearman 0.800 [0.800, 0.800], n 1"
    assert lines["two", "flat"] == "nothing to compare, a rating is constant, n 1"


def test_a_rater_without_a_rating_is_told(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="lost has no rating; run dvc repro with lost in the grid"):
        read(tmp_path, ["lost"])
