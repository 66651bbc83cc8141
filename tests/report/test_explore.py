"""The gallery: which pairs are shown, what the histogram counts, and why each pair was kept or not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import EVIL, pairs_of

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
    ],
)
def test_any_finite_rating_has_bars_of_some_width(rating: np.ndarray) -> None:
    found = histogram(rating, [rating > rating.mean()])
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


LAWS = {
    "random": {"sampler": "random"},
    "topk": {"sampler": "topk"},
    "least": {"sampler": "topk", "least": 250.0},
    "block": {"sampler": "block", "start": 30.0},
    "middle": {"sampler": "block"},
    "gsample": {"sampler": "gsample"},
    "shift": {"sampler": "shift_gsample"},
    "drop": {"sampler": "shift_gsample", "drop": 15.0, "mean": 20.0},
}
PARTS = {  # words, and the places they are said of: from, to, of n ids of which count are kept
    "among the best": lambda law, n, count: (0, count),
    "below the best": lambda law, n, count: (count, n),
    "within the block": lambda law, n, count: (law._first(n, count), law._first(n, count) + count),
    "before the block": lambda law, n, count: (0, law._first(n, count)),
    "after the block": lambda law, n, count: (law._first(n, count) + count, n),
    "in the top": lambda law, n, count: (0, min(round(law._law(count / n)[0] / 100 * n), n - count)),
    "drawn, by a Gaussian": lambda law, n, count: (0, n),
    "not drawn, by a Gaussian": lambda law, n, count: (0, n),
    "drawn by a hash": lambda law, n, count: (0, n),
    "not drawn by a hash": lambda law, n, count: (0, n),
}


@pytest.mark.parametrize("ties", [1, 7, 400])
@pytest.mark.parametrize(("n", "ratio"), [(400, 0.4), (10, 0.7), (101, 0.5)])
@pytest.mark.parametrize("name", list(LAWS))
def test_what_a_law_tells_of_an_id_is_so_also_where_ratings_are_equal(
    name: str, n: int, ratio: float, ties: int
) -> None:
    """Words that name a part of the ranking are said of the ids of that part, and of all of them."""
    law = law_of(selection_settings({"rater": "r", **LAWS[name]}, name), 3)
    rating = pd.Series(np.arange(n) // ties * 1.0, index=[f"p{i:03d}" for i in range(n)])
    table = pd.DataFrame({"id": rating.index, "rating": rating.to_numpy()})
    if name == "least" and rating.max() < 250:
        return
    kept = set(select(table, ratio, law))
    order = percentile_ranks(table, 3).index.tolist()
    count = kept_count(n, ratio)
    for place, (one, said) in enumerate(zip(order, whys(rating, kept, order, law, ratio), strict=True)):
        (words,) = [words for words in PARTS if said.startswith(words)]
        first, last = PARTS[words](law, n, count)
        assert first <= place < last, (one, said)
        is_kept = words in ("among the best", "within the block", "drawn, by a Gaussian", "drawn by a hash")
        assert (one in kept) == (is_kept and "but rated less" not in said), (one, said)
