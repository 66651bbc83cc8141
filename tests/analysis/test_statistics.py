import itertools
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alchemist.analysis import statistics
from alchemist.core.refusal import Refusal
from alchemist.core.settings.contrast import ContrastSettings, StatisticsSettings


def table(**arms: dict[int, float]) -> pd.DataFrame:
    """The tidy table of arms at ratio .5 (full at 1): fd is the figure, clip its negative."""
    rows = [
        {"selection": name, "ratio": 1.0 if name == "full" else 0.5, "model": "xs", "point": point,
         "seed": seed, "fd": value + shift, "clip": -value - shift}
        for name, by_seed in arms.items()
        for seed, value in by_seed.items()
        for point, shift in (("equal_epochs", 0.0), ("equal_images", 100.0), ("curve", 999.0))
    ]  # fmt: skip
    return pd.DataFrame(rows).sample(frac=1, random_state=1)


def settings(**changes: Any) -> ContrastSettings:
    held = {"arm": "a", "against": "b", "ratio": 0.5, "model": None, "point": "equal_epochs", "metric": "fd"}
    return ContrastSettings.model_validate(held | changes)


def test_interval_is_that_of_the_paired_t_test() -> None:
    a, b = np.array([3.1, 2.0, 4.4, 3.9, 2.7]), np.array([2.5, 2.1, 3.0, 3.1, 2.6])
    at = statistics.paired(a - b, 0.9)
    theirs = stats.ttest_rel(a, b)
    low, high = theirs.confidence_interval(0.9)
    assert (at.n, at.mean) == (5, pytest.approx((a - b).mean()))
    assert (at.low, at.high, at.p_t) == pytest.approx((low, high, theirs.pvalue))
    assert at.sd == pytest.approx((a - b).std(ddof=1))


def test_interval_of_three_by_hand() -> None:
    # Mean 2, sd 1; the .975 quantile of t with two degrees of freedom is 4.3027.
    at = statistics.paired([1, 2, 3], 0.95)
    assert (at.low, at.high) == pytest.approx(
        (2 - 4.3027 / math.sqrt(3), 2 + 4.3027 / math.sqrt(3)), abs=1e-4
    )


@pytest.mark.parametrize(
    ("differences", "p"),
    # Of eight patterns: all alike in sign, 2 are as extreme; (1, 2, -4): sums 7, 5, 3, 1 each twice, seen 1.
    [([1, 2, 3], 0.25), ([-1, -2, -3], 0.25), ([1, 2, -4], 1.0), ([1, -2, 4], 0.75), ([0, 0, 0], 1.0)],
)
def test_flip_p_enumerates_the_sign_patterns(differences: list[float], p: float) -> None:
    assert statistics.paired(differences, 0.95).p_flip == p


def test_flip_p_counts_ties_that_rounding_would_lose() -> None:
    d = np.array([0.1, 0.2, 0.3, -0.6])  # the sum is zero but for rounding
    assert statistics.sign_flip(d) == 1.0
    assert statistics.sign_flip(np.array([0.1, 0.1, 0.1, 0.7])) == 2 / 16


def test_flip_p_beyond_enumeration_agrees_with_it() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(0.4, 1.0, size=17)
    sums = np.abs(np.array(list(itertools.product((-1, 1), repeat=17))) @ d)
    exact = float((sums >= abs(d.sum()) - 1e-9).mean())
    assert statistics.sign_flip(d) == pytest.approx(exact, abs=0.01)
    assert statistics.sign_flip(d) == statistics.sign_flip(d)
    assert statistics.sign_flip(np.ones(20)) > 0  # what was seen is a pattern, so p is never zero


@pytest.mark.parametrize(("value", "p"), [(0.0, 1.0), (0.1, 0.0), (-3.0, 0.0)])
def test_equal_differences_give_an_interval_without_width(value: float, p: float) -> None:
    at = statistics.paired([value] * 3, 0.95)
    assert (at.low, at.high, at.sd, at.p_t) == (pytest.approx(value), pytest.approx(value), 0.0, p)
    assert statistics.excludes(at) == np.sign(value)


def test_a_claimed_mean_moves_the_tests_and_not_the_interval() -> None:
    d = [0.91, 0.97, 0.94, 0.92]
    at, plain = statistics.paired(d, 0.9, 0.95), statistics.paired(d, 0.9)
    assert (at.mean, at.low, at.high, at.sd) == (plain.mean, plain.low, plain.high, plain.sd)
    assert at.p_t == pytest.approx(stats.ttest_1samp(d, 0.95).pvalue)
    # Off by -.04, .02, -.01 and -.03: a sum of -.06 is passed by 4 of 16 patterns and met by 2.
    assert at.p_flip == 6 / 16
    equal = statistics.paired([0.95] * 3, 0.9, 0.95)
    assert (equal.low, equal.high, equal.p_t, equal.p_flip) == (0.95, 0.95, 1.0, 1.0)
    assert statistics.paired([0.95] * 3, 0.9, 0.9).p_t == 0


@pytest.mark.parametrize(
    ("differences", "words"), [([], "at least two"), ([1.0], "at least two"), ([1, math.nan], "finite")]
)
def test_no_interval_of_nothing(differences: list[float], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        statistics.paired(differences, 0.95)


def test_ratio_interval_is_that_of_the_logarithms() -> None:
    ratios = [1.5, 2.0, 3.0]
    at, logs = statistics.ratio_interval(ratios, 0.95), statistics.paired(np.log(ratios), 0.95)
    assert at.mean == pytest.approx(9 ** (1 / 3))
    assert (at.low, at.high) == pytest.approx((math.exp(logs.low), math.exp(logs.high)))
    # A claim moves the test and nothing else; inverse ratios give the inverse interval.
    claimed = statistics.ratio_interval(ratios, 0.95, claimed=9 ** (1 / 3))
    assert (claimed.low, claimed.high) == pytest.approx((at.low, at.high))
    assert claimed.p_t == pytest.approx(1)
    other = statistics.ratio_interval([1 / r for r in ratios], 0.95)
    assert (1 / other.high, 1 / other.low, other.p_t) == pytest.approx((at.low, at.high, at.p_t))
    with pytest.raises(Refusal, match="positive"):
        statistics.ratio_interval([1.0, 0.0], 0.95)


def test_holm_of_a_known_example() -> None:
    # Four tests: .005 x 4, .01 x 3, .03 x 2, and .04, which may not be smaller than the one before.
    p = {"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.005}
    assert statistics.holm(p) == pytest.approx({"d": 0.06, "a": 0.03, "c": 0.06, "b": 0.02})
    assert list(statistics.holm(p)) == list(p)
    assert statistics.holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert statistics.holm({}) == {}


def test_contrast_pairs_by_seed_not_by_row() -> None:
    # The seeds differ far more than the arms, so any other pairing would drown the difference.
    held = table(a={0: 101.0, 1: 11.0, 2: 1.0}, b={2: 3.0, 1: 12.0, 0: 104.0})
    found = statistics.contrast(held, settings(), "xs", 0.95, "first")
    assert found.differences == {0: -3.0, 1: -1.0, 2: -2.0}
    assert (found.interval.mean, found.better, found.name) == (-2.0, -1, "first")


def test_a_contrast_may_name_its_model() -> None:
    small = table(a={0: 1.0, 1: 2.0}, b={0: 3.0, 1: 4.5})
    large = table(a={0: 7.0, 1: 8.0}, b={0: 3.0, 1: 4.5}).assign(model="s")
    held = pd.concat([small, large])
    named, unnamed = (statistics.contrast(held, settings(model=m), "xs", 0.95) for m in ("s", None))
    assert (named.model, named.differences) == ("s", {0: 4.0, 1: 3.5})
    assert (unnamed.model, unnamed.differences) == ("xs", {0: -2.0, 1: -2.5})


def test_favours_turns_with_the_metric_and_the_side() -> None:
    held = table(a={0: 1.0, 1: 1.1, 2: 0.9}, b={0: 5.0, 1: 5.0, 2: 5.0}, c={0: 1.1, 1: 0.9, 2: 1.0})
    lower, higher = (statistics.contrast(held, settings(metric=m), "xs", 0.95) for m in ("fd", "clip"))
    assert lower.interval.high < 0 < higher.interval.low
    assert (lower.favours, higher.favours, higher.better) == ("a", "a", 1)
    turned = statistics.contrast(held, settings(arm="b", against="a"), "xs", 0.95)
    assert turned.favours == "a"
    assert statistics.contrast(held, settings(against="c"), "xs", 0.95).favours is None


def test_full_is_compared_at_its_own_ratio_and_points_are_kept_apart() -> None:
    held = table(a={0: 1.0, 1: 2.0}, full={0: 5.0, 1: 6.5})
    found = statistics.contrast(held, settings(against="full", point="equal_images"), "xs", 0.95)
    assert found.differences == {0: -4.0, 1: -4.5}


@pytest.mark.parametrize(
    ("arms", "words"),
    [
        ({"a": {0: 1.0, 1: 2.0}}, "no cell of b at ratio 0.5"),
        ({"a": {0: 1.0, 1: 2.0}, "b": {0: 1.0, 2: 2.0}}, r"\[0, 1\] and b \[0, 2\]"),
        ({"a": {0: 1.0, 1: 2.0}, "b": {0: 1.0}}, "should have the same"),
        ({"a": {0: 1.0}, "b": {0: 1.0}}, "at least two"),
    ],
)
def test_contrast_refuses_what_cannot_be_paired(arms: dict[str, dict[int, float]], words: str) -> None:
    with pytest.raises(Refusal, match=words):
        statistics.contrast(table(**arms), settings(), "xs", 0.95)


def test_contrasts_put_the_primary_first_and_adjust_the_others_alone() -> None:
    held = table(
        a={0: 1.0, 1: 1.2, 2: 0.9}, b={0: 3.0, 1: 3.3, 2: 3.1}, c={0: 1.1, 1: 2.2, 2: 0.7},
        full={0: 2.0, 1: 2.3, 2: 2.2},
    )  # fmt: skip
    blocks = {
        "x": settings(against="c"),
        "y": settings(),
        "z": settings(against="full"),
        "unused": settings(),
    }
    wanted = StatisticsSettings(primary="y", secondary=("z", "x"), confidence=0.95)
    found = statistics.contrasts(held, blocks, wanted, "xs")
    assert [(c.name, c.primary, c.p_holm is None) for c in found] == [
        ("y", True, True), ("z", False, False), ("x", False, False),
    ]  # fmt: skip
    assert found[1].p_holm == pytest.approx(2 * found[1].interval.p_t)
    assert found[2].p_holm == pytest.approx(found[2].interval.p_t)
    assert found[2].model == "xs"
    nothing = StatisticsSettings(primary=None, secondary=(), confidence=0.95)
    assert statistics.contrasts(held, blocks, nothing, "xs") == []


def test_contrasts_in_a_metric_that_the_models_do_not_have() -> None:
    """The table has no NLL: secondary contrasts are left out, and Holm does not count them."""
    held = table(a={0: 1.0, 1: 1.2, 2: 0.9}, b={0: 3.0, 1: 3.3, 2: 3.1}, c={0: 1.1, 1: 2.2, 2: 0.7})
    blocks = {"x": settings(against="c"), "y": settings(), "likely": settings(metric="nll")}
    wanted = StatisticsSettings(primary="y", secondary=("likely", "x"), confidence=0.95)
    found = statistics.contrasts(held, blocks, wanted, "xs")
    assert [c.name for c in found] == ["y", "x"]
    assert found[1].p_holm == found[1].interval.p_t
    with pytest.raises(Refusal, match=r"contrasts\.likely\.metric is 'nll', which these models do not have"):
        statistics.contrasts(held, blocks, wanted.model_copy(update={"primary": "likely"}), "xs")
