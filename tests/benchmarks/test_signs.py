"""The verdict on a sign on planted results, of one run and of several."""

import numpy as np
import pytest

from benchmarks.signs import Result, find


def results(fired, silent, arms=2):
    return [
        Result("run", f"arm {i % arms}", {"fd": x, "nll": x / 100}, {"few": True})
        for i, x in enumerate(fired)
    ] + [Result("run", "sound", {"fd": x, "nll": x / 100}, {"few": False}) for x in silent]


def test_a_sign_predicts_where_the_arms_that_it_names_are_worse_by_an_interval():
    worse = find(results([9, 10, 11, 10], [0, 1, -1, 0]), "few")
    assert worse.predicts
    assert (worse.fired, worse.silent, worse.arms) == (4, 4, 2)
    fired, silent, low, high = worse.gaps["fd"]
    assert (fired, silent) == (10, 0)
    assert low < 10 < high
    assert low > 0


@pytest.mark.parametrize(
    "found",
    [
        results([0, 5, -5, 2], [0, 1, -1, 0]),  # no difference
        results([-9, -10, -11, -10], [0, 1, -1, 0]),  # better
        results([9, 10, 11, 10], [0, 1, -1, 0], arms=1),  # one arm, whatever else is wrong with it
        results([9], [0, 1, -1, 0]),  # one result
        results([9, 10, 9, 10], []),  # nothing beside
    ],
)
def test_a_sign_says_nothing_otherwise(found):
    assert not find(found, "few").predicts


def test_a_sign_that_is_worse_in_one_figure_and_better_in_the_other_says_nothing():
    found = [Result("run", f"arm {i % 2}", {"fd": x, "nll": -x}, {"few": i < 4}) for i, x in
             enumerate([9, 10, 11, 10, 0, 1, -1, 0])]  # fmt: skip
    assert not find(found, "few").predicts


def test_arms_of_which_a_sign_was_not_asked_do_not_count():
    other = [Result("run", "x", {"fd": 99.0, "nll": 9.0}, {})] * 3
    sound = results([9, 10, 11, 10], [0, 1, -1, 0])
    assert find([*sound, *other], "few") == find(sound, "few")


def leveled(run: str, level: float, worse: float, fires: tuple[int, ...]) -> list[Result]:
    """Three seeds of four arms about a level; arms on which the sign fires are further behind."""
    chance = np.random.default_rng(len(run))
    return [
        Result(
            run, f"arm-{arm}", {"fd": level + worse * (arm in fires) + chance.normal()}, {"s": arm in fires}
        )
        for arm in range(4)
        for _ in range(3)
    ]


def test_a_sign_that_goes_with_worse_results_predicts_whatever_the_pools_level() -> None:
    found = find([*leveled("a", 30, 8, (0, 1)), *leveled("bb", -40, 8, (2,))], "s")
    assert (found.arms, found.fired, found.silent) == (3, 9, 15)
    fired, silent, low, high = found.gaps["fd"]
    assert abs(fired - silent - 8) < 2
    assert 4 < low < high < 12
    assert found.predicts


def test_a_difference_is_told_whole_where_a_sign_fires_on_most_of_one_pool_and_on_few_of_another() -> None:
    found = find([*leveled("a", 30, 8, (0, 1, 2)), *leveled("bb", -40, 8, (3,))], "s")
    fired, silent, low, high = found.gaps["fd"]
    assert abs(fired - silent - 8) < 1.5
    assert low < 8 < high


def test_pools_that_differ_in_level_tell_nothing_of_a_sign() -> None:
    """It fires on most of the pool where all is worse, and on few of the other; within each it is nothing."""
    found = find([*leveled("a", 30, 0, (0, 1, 2)), *leveled("bb", -40, 0, (3,))], "s")
    assert not found.predicts
    assert abs(found.gaps["fd"][0] - found.gaps["fd"][1]) < 2
    alone = find([*leveled("a", 30, 0, (0, 1, 2, 3)), *leveled("bb", -40, 0, ())], "s")
    assert (alone.gaps, alone.predicts) == ({}, False)
