"""benchmarks.signs: a sign is held against results of its own run alone."""

import numpy as np

from benchmarks.signs import Result, find


def results(run: str, level: float, worse: float, fires: tuple[int, ...]) -> list[Result]:
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
    found = find([*results("a", 30, 8, (0, 1)), *results("bb", -40, 8, (2,))], "s")
    assert (found.arms, found.fired, found.silent) == (3, 9, 15)
    fired, silent, low, high = found.gaps["fd"]
    assert abs(fired - silent - 8) < 2
    assert 4 < low < high < 12
    assert found.predicts


def test_pools_that_differ_in_level_tell_nothing_of_a_sign() -> None:
    """It fires on most of the pool where all is worse, and on few of the other; within each it is nothing."""
    found = find([*results("a", 30, 0, (0, 1, 2)), *results("bb", -40, 0, (3,))], "s")
    assert not found.predicts
    assert abs(found.gaps["fd"][0] - found.gaps["fd"][1]) < 2
    alone = find([*results("a", 30, 0, (0, 1, 2, 3)), *results("bb", -40, 0, ())], "s")
    assert (alone.gaps, alone.predicts) == ({}, False)


def test_one_arm_is_no_finding() -> None:
    assert not find(results("a", 0, 8, (0,)), "s").predicts
