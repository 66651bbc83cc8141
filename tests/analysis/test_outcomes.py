"""Outcomes of claims: two tests, their errors, Holm between claims, and the seeds that would end them."""

import math
from typing import Literal

import numpy as np
import pytest
from numpy.typing import ArrayLike
from scipy import stats

from alchemist.analysis.outcomes import Outcome, corrected, decided, p_values, seeds_needed

ALPHA = 0.05


def outcome(differences: ArrayLike, better: Literal[-1, 1], margin: float, alpha: float) -> Outcome:
    """The outcome of one claim on its own."""
    return corrected({"": (differences, better, margin)}, "", alpha)[""]


def noise(n: int, sd: float = 1.0) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """n values of mean 0 and this standard deviation, exactly."""
    values = np.arange(n) - (n - 1) / 2
    return sd * values / values.std(ddof=1)


@pytest.mark.parametrize(
    ("mean", "better", "word", "why"),
    [
        (-10.0, -1, "verified", "better"),
        (+10.0, +1, "verified", "better"),
        (+10.0, -1, "falsified", "worse"),
        (-10.0, +1, "falsified", "worse"),
        (0.0, -1, "falsified", "equal within the margin"),
        (-2.5, -1, "falsified", "better, by less than the margin"),
        (-5.0, -1, "verified", "better"),
    ],
)
def test_both_sides_of_zero_and_of_the_margin(
    mean: float, better: Literal[-1, 1], word: str, why: str
) -> None:
    found = outcome(noise(12, 2.0) + mean, better, 5.0, ALPHA)
    assert (found.word, found.why) == (word, why)
    assert found.needed is None


def test_a_wide_spread_is_open_and_says_how_many_seeds_end_it() -> None:
    found = outcome(noise(5, 12.0) - 3.0, -1, 5.0, ALPHA)
    assert (found.word, found.why) == ("inconclusive", "open")
    assert found.needed is not None
    assert found.needed > 5


def test_not_better_by_the_margin_though_perhaps_much_worse() -> None:
    # The upper end of the benefit is below the margin, its lower end far below minus the margin.
    found = outcome(noise(6, 9.0) + 6.0, -1, 5.0, ALPHA)
    assert (found.word, found.why) == ("falsified", "not better by the margin")
    assert found.p.equal > ALPHA


def test_the_tests_are_the_one_sample_t_tests() -> None:
    rng = np.random.default_rng(0)
    d = rng.normal(-2, 3, 9)
    found = outcome(d, -1, 1.5, ALPHA)
    assert found.p.better == pytest.approx(stats.ttest_1samp(-d, 0, alternative="greater").pvalue)
    assert found.p.less == pytest.approx(stats.ttest_1samp(-d, 1.5, alternative="less").pvalue)
    lower = stats.ttest_1samp(-d, -1.5, alternative="greater").pvalue
    assert found.p.equal == pytest.approx(max(found.p.less, lower))
    # Verified exactly where the two-sided interval excludes 0.
    assert (found.p.better <= ALPHA / 2) == (found.interval.high < 0)


@pytest.mark.parametrize("value", [0.02, 0.1, 0.3])  # whose mean rounds
def test_equal_differences_of_the_margin_are_not_below_it(value: float) -> None:
    p = p_values([value] * 12, 1, value)
    assert (p.better, p.worse, p.less, p.equal) == (0.0, 1.0, 0.5, 0.5)


def test_it_does_not_matter_which_arm_is_named_first() -> None:
    d = np.random.default_rng(1).normal(1, 3, 8)
    one, other = outcome(d, 1, 2.0, ALPHA), outcome(-d, -1, 2.0, ALPHA)
    assert (one.word, one.p.less) == (other.word, pytest.approx(other.p.less))


def word(differences: ArrayLike, better: Literal[-1, 1], margin: float) -> str:
    return decided(p_values(differences, better, margin), ALPHA)[0]


def test_errors_are_as_named() -> None:
    """At n = 12: verified by chance in 2.5 % without a benefit, falsified in 5 % with one of the margin."""
    rng = np.random.default_rng(2)
    draws, n = 2000, 12
    words = {mean: [word(rng.normal(-mean, 7, n), -1, 5.0) for _ in range(draws)] for mean in (0, 5)}
    verified, falsified = words[0].count("verified") / draws, words[5].count("falsified") / draws
    assert abs(verified - 0.025) < 4 * math.sqrt(0.025 / draws)
    assert abs(falsified - 0.05) < 4 * math.sqrt(0.05 / draws)


def test_holm_among_all_but_the_primary_claim() -> None:
    n = 12
    t = float(stats.t.ppf(1 - 0.01, n - 1))
    near = noise(n) + t / math.sqrt(n)  # p of .01: alone verified, among four of them not
    assert outcome(near, 1, 0.5, ALPHA).p.better == pytest.approx(0.01)
    words = [end.word for end in corrected(dict.fromkeys("abcd", (near, 1, 0.5)), "a", ALPHA).values()]
    assert words == ["verified", *["inconclusive"] * 3]
    # Falsified all the same where the margin is far above.
    reasons = [end.why for end in corrected(dict.fromkeys("abcd", (near, 1, 5.0)), "a", ALPHA).values()]
    assert reasons == ["better, by less than the margin", *["equal within the margin"] * 3]


def test_reasons_share_the_correction_too() -> None:
    n = 12
    t = float(stats.t.ppf(1 - 0.01, n - 1))
    worse = noise(n) - t / math.sqrt(n)  # p of .01 of being worse, far from the margin
    ends = corrected(dict.fromkeys("abcd", (worse, 1, 4.0)), "a", ALPHA)
    assert [end.why for end in ends.values()] == ["worse", *["equal within the margin"] * 3]
    assert [end.corrected.worse for end in ends.values()] == pytest.approx([0.01, 0.03, 0.03, 0.03])
    # Equal by a p of .03: alone so, among three of them only not better by the margin.
    edge = 1.0 - float(stats.t.ppf(1 - 0.03, n - 1)) / math.sqrt(n)
    near = noise(n) - edge
    ends = corrected(dict.fromkeys("abcd", (near, 1, 1.0)), "a", ALPHA)
    assert [end.p.equal for end in ends.values()] == pytest.approx([0.03] * 4)
    assert [end.word for end in ends.values()] == ["falsified"] * 4
    assert [end.why for end in list(ends.values())[1:]] == ["not better by the margin"] * 3


def test_equal_differences() -> None:
    assert outcome([0.0, 0.0, 0.0], 1, 1.0, ALPHA).why == "equal within the margin"
    assert outcome([2.0, 2.0, 2.0], 1, 1.0, ALPHA).word == "verified"


@pytest.mark.parametrize("times", [1, 3])
def test_seeds_needed_have_the_power_they_say(times: int) -> None:
    """Also of a claim whose p values Holm's correction multiplies."""
    benefit, sd, margin, draws = 6.0, 7.0, 5.0, 2000
    n = int(seeds_needed("better", benefit, sd, margin, ALPHA, times))
    by_margin = int(seeds_needed("less", -1.0, sd, margin, ALPHA, times))
    assert by_margin != n
    rng = np.random.default_rng(3)
    for mean, count, kind, error in ((benefit, n, "better", ALPHA / 2), (-1.0, by_margin, "less", ALPHA)):
        for fewer, is_enough in ((0, True), (2, False)):
            found = [p_values(rng.normal(mean, sd, count - fewer), 1, margin) for _ in range(draws)]
            power = sum(times * getattr(one, kind) <= error for one in found) / draws
            assert (power > 0.8 - 4 * math.sqrt(0.16 / draws)) == is_enough or abs(power - 0.8) < 0.03
    assert [seeds_needed("better", 0.0, 7.0, 5.0, ALPHA), seeds_needed("less", 5.0, 7.0, 5.0, ALPHA)] == [
        math.inf, math.inf,
    ]  # fmt: skip
    assert seeds_needed("less", 0.0, 7.0, 5.0, ALPHA) < math.inf  # ends by the margin
    assert outcome(noise(6, 7.0) + 5e-3, 1, 5e-3, ALPHA).needed is None  # neither test comes to an end


def test_seeds_needed_are_no_fewer_than_those_of_claims_ahead() -> None:
    """Holm's correction steps down, so that of claims that are alike each waits for the first."""
    n = 8
    claims = {
        name: (gain + noise(n), 1, 0.8) for name, gain in zip("abcd", (0.75, 0.75, 0.74, 0.73), strict=True)
    }
    ends = corrected(claims, "a", ALPHA)
    assert {end.word for end in ends.values()} == {"inconclusive"}
    alone = [seeds_needed("better", 0.75, 1.0, 0.8, ALPHA, times) for times in (1, 3)]
    assert n < alone[0] < alone[1]
    assert [end.needed for end in ends.values()] == [alone[0], *[alone[1]] * 3]
    assert seeds_needed("better", 0.73, 1.0, 0.8, ALPHA, 1) < alone[1]


def test_each_test_has_its_own_place_and_a_seed_more_is_needed_at_least() -> None:
    """Of two claims beside the primary one, the nearer to the margin is last by `less`, first by `better`."""
    n = 8
    wide, near = noise(n, 3.0), noise(n) + 0.6
    ends = corrected({"a": (near, 1, 1.0), "wide": (wide, 1, 2.5), "near": (near, 1, 1.0)}, "a", ALPHA)
    assert {end.word for end in ends.values()} == {"inconclusive"}
    assert ends["near"].p.better < ends["wide"].p.better
    assert ends["near"].p.less > ends["wide"].p.less
    assert ends["wide"].needed == seeds_needed("less", 0.0, 3.0, 2.5, ALPHA, 2)
    assert ends["wide"].needed != seeds_needed("less", 0.0, 3.0, 2.5, ALPHA, 1)
    assert ends["near"].needed == seeds_needed("better", 0.6, 1.0, 1.0, ALPHA, 2)
    # Equal differences ahead, whose spread rounds to more than none, delay nothing.
    ends = corrected({"a": (near, 1, 1.0), "equal": ([0.1] * n, 1, 0.1), "near": (near, 1, 1.0)}, "a", ALPHA)
    assert ends["near"].needed == seeds_needed("better", 0.6, 1.0, 1.0, ALPHA, 1)
    # Open by Holm's correction alone, where so many seeds would have had the power.
    clear = noise(n) + 0.98
    ends = corrected(dict.fromkeys("abcd", (clear, 1, 1.2)), "a", ALPHA)
    assert ends["d"].word == "inconclusive"
    assert seeds_needed("better", 0.98, 1.0, 1.2, ALPHA) < math.inf
    assert ends["d"].needed is not None
    assert ends["d"].needed > n
