"""The gallery: which pairs are shown, what the histogram counts, and why each pair was kept or not."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import EVIL, pairs_of, params

from alchemist.pruning.laws import percentile_ranks, select
from alchemist.pruning.samplers import selection_settings
from alchemist.report.explore import bins_of, histogram, shown


def test_shown_pairs_are_even_over_the_deciles_and_do_not_depend_on_row_order() -> None:
    rating = pd.Series(np.arange(1000.0), index=[f"p{i:03d}" for i in range(1000)])
    chosen = shown(rating, 50)
    assert len(set(chosen)) == 50
    assert np.bincount([int(rating[name]) // 100 for name in chosen]).tolist() == [5] * 10
    assert shown(rating.sample(frac=1, random_state=0), 50) == chosen
    assert sorted(shown(rating[:7], 50)) == sorted(rating.index[:7])


def test_the_histogram_counts_every_pair_once() -> None:
    rating = pd.Series(np.random.default_rng(0).normal(size=500), index=[f"p{i}" for i in range(500)])
    kept = set(rating.index[rating > 0])
    found = histogram(rating, [kept, set()])
    assert sum(found["all"]) == 500
    assert [sum(one) for one in found["kept"]] == [len(kept), 0]
    bars = bins_of(found, 0)
    assert bars.groupby("kind")["pairs"].sum().to_dict() == {"kept": len(kept), "pruned": 500 - len(kept)}
    assert bars.loc[(bars["kind"] == "kept") & (bars["to"] <= 0), "pairs"].sum() == 0


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
    "block": {"sampler": "block", "start": 30.0},
    "middle": {"sampler": "block"},
    "gsample": {"sampler": "gsample"},
    "shift": {"sampler": "shift_gsample"},
    "interval": {"sampler": "interval"},
}


def test_every_law_tells_why_and_what_it_tells_is_so() -> None:
    """Words that name a part of the ranking are said of ids of that part alone."""
    assert {held["sampler"] for held in LAWS.values()} <= {
        held["sampler"] for held in params()["selections"].values()
    } | {"interval"}
    table = pd.DataFrame({"id": [f"p{i:03d}" for i in range(400)], "rating": np.arange(400.0)})
    ranks = percentile_ranks(table, 0)
    for name, held in LAWS.items():
        law = selection_settings({"rater": "r", **held}, name)
        kept = set(select(table, 0.4, law))
        said = {one: law.why(float(ranks[one]), 0.4, one in kept) for one in table["id"]}
        by_words = pd.Series(ranks).groupby(pd.Series(said)).agg(["min", "max"])
        assert not {said[one] for one in kept} & {said[one] for one in table["id"] if one not in kept}, name
        for words, (low, high) in by_words.iterrows():
            text = str(words)
            if text == "among the best 40 %":
                assert high < 40.2
            elif text == "below the best 40 %":
                assert low > 39.8
            elif (
                found := re.match(r"(within|before|after) the block from (\d+) to (\d+) %", text)
            ) is not None:
                ends = {
                    "within": (int(found[2]), int(found[3])),
                    "before": (0, int(found[2])),
                    "after": (int(found[3]), 100),
                }
                assert ends[found[1]][0] - 0.3 <= low <= high <= ends[found[1]][1] + 0.3, (name, text)
            elif text == "in the top 25 %, which is thrown away":
                assert high < 25
        if name == "shift":
            assert set(by_words.index) == {
                "in the top 25 %, which is thrown away", "drawn, by a Gaussian about rank 62.5 %",
                "not drawn, by a Gaussian about rank 62.5 %",
            }  # fmt: skip
