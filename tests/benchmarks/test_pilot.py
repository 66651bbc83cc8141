"""Decision accuracy on planted figures."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.pilot import METRICS, accuracy, interval, pilots, read, wide

ARMS = pd.MultiIndex.from_tuples([("a", 0.5), ("b", 0.5), ("c", 0.5), ("d", 1.0)])


def run(*columns):
    return pd.DataFrame(dict(enumerate(columns)), index=ARMS)


LONGER = run([4.0, 3.0, 2.0, 1.0], [4.1, 3.1, 2.1, 1.0])


def test_the_same_order_is_right_in_every_pair_and_the_reverse_in_none():
    same, turned = accuracy(LONGER, LONGER), accuracy(-LONGER, LONGER)
    assert (same.right, same.pairs, same.winner, same.place) == (6, 6, True, 1)
    assert (turned.right, turned.winner, turned.place) == (0, False, 4)
    assert same.told == same.told_pairs == 6
    assert turned.told == 0


def test_one_swap_of_neighbours_costs_one_pair_and_a_tie_half_a_one():
    swapped = accuracy(run([3.0, 4.0, 2.0, 1.0]), LONGER)
    assert (swapped.right, swapped.winner, swapped.place) == (5, False, 2)
    assert accuracy(run([4.0, 3.0, 2.0, 2.0]), LONGER).right == 5.5


def test_pairs_that_the_longer_run_cannot_tell_apart_do_not_count_as_told():
    noisy = run([4.0, 3.9, 2.0, 1.0], [3.8, 4.0, 2.1, 1.1])
    assert accuracy(LONGER, noisy).told_pairs == 5


def test_only_arms_that_both_runs_have_are_compared():
    assert accuracy(LONGER, LONGER.iloc[[0, 3]]).pairs == 1
    with pytest.raises(ValueError, match="1 arm in common"):
        accuracy(LONGER, LONGER.iloc[[0]])


def test_a_pilot_is_every_choice_of_its_seeds():
    three = run([4.0, 3, 2, 1], [4.0, 3, 2, 1], [1.0, 2, 3, 9])
    assert [a.place for a in pilots(three, LONGER, 2)] == [1, 4, 4]
    assert len(pilots(three, LONGER, 3)) == 1


def test_parts_of_a_study_are_one_run_by_one_reference(tmp_path: Path):
    for seed in (0, 1):
        rows = [
            {"seed": seed, "reference": name, "fd_lite0": value}
            for name, value in (("once", 1), ("as_is", 9))
        ]
        pd.DataFrame(rows).to_csv(tmp_path / f"{seed}.csv", index=False)
    parts = sorted(tmp_path.glob("*.csv"))
    assert list(read(parts, "once")["fd_lite0"]) == [1, 1]
    assert list(read(parts, "as_is")["seed"]) == [0, 1]
    with pytest.raises(ValueError, match="--reference is all; as_is, once is legal"):
        read(parts, "all")
    pd.DataFrame({"seed": [3]}).to_csv(tmp_path / "plain.csv", index=False)
    assert list(read([tmp_path / "plain.csv"], "once")["seed"]) == [3]  # a report's table has one alone


def test_lower_is_better_but_for_the_clip_score():
    rows = [
        {"selection": s, "ratio": 0.5, "model": m, "seed": 0, "point": p, **dict.fromkeys(METRICS, v)}
        for s, v in (("a", 1.0), ("b", 2.0))
        for m, p in (("xs", "equal_images"), ("s", "equal_images"), ("xs", "curve"))
    ]
    table = pd.DataFrame(rows)
    for metric, sign in METRICS.items():
        found = wide(table, "xs", metric)[0]
        assert found.idxmax()[0] == ("b" if sign > 0 else "a")


def test_the_interval_is_the_exact_binomial_one():
    assert interval(10, 10) == pytest.approx((0.025 ** (1 / 10), 1.0))
