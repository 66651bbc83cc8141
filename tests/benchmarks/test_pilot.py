"""Decision accuracy on planted figures, and the verdict on a sign on planted results."""

import pandas as pd
import pytest

from benchmarks.pilot import METRICS, accuracy, interval, pilots, wide
from benchmarks.signs import Result, find

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
