"""The gallery: which pairs are shown, what the histogram counts, and why each pair was kept or not."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from report_helpers import EVIL, pairs_of

from alchemist.core.refusal import Refusal
from alchemist.pruning.laws import kept_count, law_of, percentile_ranks, select, whys
from alchemist.pruning.samplers import selection_settings
from alchemist.report.chart import Chart
from alchemist.report.explore import bins_of, histogram, shown


def test_shown_pairs_are_even_over_the_deciles_and_do_not_depend_on_row_order() -> None:
    rating = pd.Series(np.arange(1000.0), index=[f"p{i:03d}" for i in range(1000)])
    chosen = shown(rating, 50)
    assert len(set(chosen)) == 50
    assert np.bincount([int(rating[name]) // 100 for name in chosen]).tolist() == [5] * 10
    assert shown(rating.sample(frac=1, random_state=0), 50) == chosen
    assert sorted(shown(rating[:7], 50)) == sorted(rating.index[:7])


def test_the_histogram_counts_every_pair_once() -> None:
    rating = np.random.default_rng(0).normal(size=500)
    found = histogram(rating, [rating > 0, rating > 9])
    assert sum(found["all"]) == 500
    assert [sum(one) for one in found["kept"]] == [(rating > 0).sum(), 0]
    bars = bins_of(found, 0)
    assert bars.groupby("kind")["pairs"].sum().to_dict() == {
        "kept": (rating > 0).sum(),
        "pruned": (rating <= 0).sum(),
    }
    assert bars.loc[(bars["kind"] == "kept") & (bars["to"] <= 0), "pairs"].sum() == 0


@pytest.mark.parametrize(
    "rating",
    [
        np.full(9, 3.0),
        np.zeros(9),
        1 / 3 + np.array([0, 1, 2] * 3) * 5.6e-17,
        np.full(9, 1e17),
        1e4 + np.linspace(-0.01, 0.01, 9),
        np.linspace(0, 1e-12, 9),
        np.array([-1.5e308, 0, 1.5e308] * 3),
        np.full(9, 1.7976e308),
        np.full(9, -1.7976931348623157e308),
    ],
)
def test_any_finite_rating_has_bars_of_some_width(rating: np.ndarray) -> None:
    found = histogram(rating, [rating > np.median(rating)])
    assert sum(found["all"]) == 9
    assert (np.diff(found["edges"]) > 0).all()
    spec = Chart("brush", "x", bins_of(found, 0), "rating", "rating", "pairs").spec(400)
    assert (np.diff([row["rating"] for row in spec["data"]["values"][::2]]) > 0).all(), "as the page has them"


def test_the_page_holds_what_the_subsets_hold(three: Path) -> None:
    held = pairs_of((three / "reports/index.html").read_text())
    assert held["raters"][0] == "alchemist"
    at = held["arms"].index("gsample, 20\N{NO-BREAK SPACE}%")
    subset = set(pd.read_parquet(three / "data/subsets/gsample/0.2/0.parquet")["id"])
    assert {pair["id"] for pair in held["pairs"] if pair["kept"][at]} == subset & {
        p["id"] for p in held["pairs"]
    }
    assert sum(held["bins"][0]["kept"][at]) == len(subset)
    ratings = pd.read_parquet(three / "data/ratings/alchemist/0.parquet").set_index("id")["rating"]
    for pair in held["pairs"][:20]:
        assert pair["rating"][0] == pytest.approx(ratings[pair["id"]], rel=1e-4)
        assert EVIL in pair["caption"]


LAWS: dict[str, dict[str, Any]] = {
    "random": {"sampler": "random"},
    "topk": {"sampler": "topk"},
    "least": {"sampler": "topk", "least": 6.0},
    "block": {"sampler": "block", "start": 30.0},
    "middle": {"sampler": "block"},
    "gsample": {"sampler": "gsample"},
    "shift": {"sampler": "shift_gsample"},
    "drop": {"sampler": "shift_gsample", "drop": 15.0, "mean": 20.0},
    "interval": {"sampler": "interval"},
}


def expected(name: str, n: int, ratio: float, place: int, rating: float, kept: bool) -> str:
    """What should be said of the id at a place, reckoned from the laws' definitions alone."""
    count, share = kept_count(n, ratio), f"{100 * ratio:g}"
    drawn = "drawn" if kept else "not drawn"
    if name == "random":
        return f"{drawn} by a hash of its id, whatever its rating"
    if name == "interval":
        return f"{'kept' if kept else 'left out'} by the law interval"
    if name in ("topk", "least"):
        low = ", but rated less than 6" if name == "least" and rating < 6 else ""
        return f"among the best {share} %{low}" if place < count else f"below the best {share} %"
    if name in ("block", "middle"):
        start = 30 if name == "block" else 50 * (1 - ratio)
        first = min(round(0.3 * n), n - count) if name == "block" else (n - count) // 2
        where = "before" if place < first else "within" if place < first + count else "after"
        return f"{where} the block from {start:g} to {start + 100 * ratio:g} % of the ranking"
    drop = {"gsample": 0, "shift": 25 if ratio <= 0.5 else 15, "drop": 15}[name]
    mean = 20 if name == "drop" else drop + (100 - drop) / 2
    if place < min(round(drop / 100 * n), n - count):
        return f"in the top {drop} %, which is thrown away"
    return f"{drawn}, by a Gaussian about rank {mean:g} %"


@pytest.mark.parametrize("ties", [1, 7, 400])
@pytest.mark.parametrize(("n", "ratio"), [(400, 0.4), (10, 0.7), (101, 0.5)])
@pytest.mark.parametrize("name", list(LAWS))
def test_what_a_law_tells_of_an_id_is_so_also_where_ratings_are_equal(
    name: str, n: int, ratio: float, ties: int
) -> None:
    law = law_of(selection_settings({"rater": "r", **LAWS[name]}, name), 3)
    rating = pd.Series(np.arange(n) // ties + 0.0, index=[f"p{i:03d}" for i in range(n)])
    rating += 6 if ties == 400 else 0  # of equal ones none is below `least`, which would keep nothing
    table = pd.DataFrame({"id": rating.index, "rating": rating.to_numpy()})
    if name == "least" and rating.max() < 6:
        with pytest.raises(Refusal, match="least is 6"):
            select(table, ratio, law)
        return
    kept = set(select(table, ratio, law))
    order = percentile_ranks(table, 3).index.tolist()
    said = whys(rating, kept, order, law, ratio)
    held = [expected(name, n, ratio, place, rating[one], one in kept) for place, one in enumerate(order)]
    assert said == held
