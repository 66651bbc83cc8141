"""Signs that compare ratings, and shares of copies, on planted ratings and clusters."""

import numpy as np
import pandas as pd
import pytest
from analysis_helpers import study

from alchemist.analysis.signs import copied, of_copies, of_ratings
from alchemist.core.settings.signs import SignSettings

BOUNDS = SignSettings()
IDS = [f"id-{i}" for i in range(1000)]
RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=1000)


def rating(noise, of=TRUE):
    return pd.Series(of + noise * RNG.normal(size=1000), index=IDS)


def found(meta, low, dice=None, seeds=(0, 1, 2)):
    made = study("zero", "one", "five", seeds=seeds)  # dice, a meta rater r, low loss
    dice = dice or {s: pd.Series(RNG.random(1000), index=IDS) for s in seeds}
    seen = of_ratings(made, {"dice": dice, "r": meta, "low": low}, BOUNDS)
    return {(one.of, one.sign.name): one.sign for one in seen}


def test_a_copy_of_low_loss_fires_and_a_rating_of_its_own_does_not():
    low = {s: rating(0.01) for s in range(3)}
    copy = found({s: rating(0.01) for s in range(3)}, low)
    assert copy["r", "loss"].fires
    assert copy["r", "loss"].value > 0.99
    assert not found({s: rating(1.0) for s in range(3)}, low)["r", "loss"].fires
    assert ("low", "loss") not in copy, "low loss is no copy of itself"


def test_seeds_that_disagree_fire_and_a_single_seed_says_nothing():
    low = {s: rating(0.1) for s in range(3)}
    noise = found({s: rating(30.0) for s in range(3)}, low)
    assert noise["r", "seeds"].fires
    assert abs(noise["r", "seeds"].value) < 0.1
    assert not noise["low", "seeds"].fires
    assert ("dice", "seeds") not in noise, "a draw need not agree with itself"
    alone = found({0: rating(1.0)}, {0: rating(0.1)}, seeds=(0,))
    assert not [key for key in alone if key[1] == "seeds"]


def test_a_rating_that_follows_the_draw_fires_in_either_direction():
    dice = {s: pd.Series(TRUE, index=IDS) for s in range(3)}
    seen = found({s: rating(0.1, -TRUE) for s in range(3)}, {s: rating(9.0) for s in range(3)}, dice)
    assert seen["r", "random"].fires
    assert seen["r", "random"].value > 0.9
    free = found({s: rating(1.0) for s in range(3)}, {s: rating(1.0) for s in range(3)})
    assert not free["r", "random"].fires


def test_shares_of_copies_count_what_could_go_with_one_of_each_left():
    # 4 copies of one drawing, 2 of another, 4 alone: 4 of 10 could go.
    clusters = pd.Series([1, 1, 1, 1, 2, 2, 3, 4, 5, 6], index=list("abcdefghij"))
    assert copied(clusters) == pytest.approx(0.4)
    kept = {("s", 0.5, 0): pd.Series(list("aefgh")), ("s", 0.5, 1): pd.Series(list("abcgh"))}
    pool, subset = of_copies(clusters, kept, BOUNDS)
    assert (pool.of, pool.sign.name, pool.sign.fires) == ("the pool", "copies_pool", True)
    assert subset.sign.value == pytest.approx((0.2 + 0.4) / 2)
    assert (subset.of, subset.ratio, subset.sign.name) == ("s", 0.5, "copies_kept")
    assert copied(pd.Series(range(5))) == 0
    assert not any(seen.sign.fires for seen in of_copies(pd.Series(range(5), list("abcde")), {}, BOUNDS))
