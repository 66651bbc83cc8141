import math
from dataclasses import replace

import pytest
from analysis_helpers import BUDGET, SHARES, bills, falling, scores, study

from alchemist.analysis import statistics
from alchemist.analysis.grid import FULL, Cell
from alchemist.analysis.reach import GOALS
from alchemist.analysis.results import tidy
from alchemist.analysis.speedup import Bound, BreakEven, _open, break_even, speedup
from alchemist.core.refusal import Refusal


@pytest.mark.parametrize(
    ("rating", "theirs", "ours", "runs"),
    [
        (10.0, 8.0, 4.0, 3),
        (8.0, 8.0, 4.0, 2),
        (0.9, 0.3, 0.0, 3),  # 3.0000000000000004 in floating point
        (1.0, 1000.0, 0.0, 1),
        (1e-12, 1000.0, 0.0, 1),
        (0.0, 8.0, 4.0, 0),
        (10.0, 4.0, 4.0, None),
        (10.0, 4.0, 8.0, None),
        (10.0, None, 4.0, None),
        (10.0, 4.0, None, None),
    ],
)
def test_break_even(rating: float, theirs: float | None, ours: float | None, runs: int | None) -> None:
    assert break_even(rating, theirs, ours) == runs


def test_speedup_in_images_seconds_and_operations() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling)
    table = tidy(made, held)
    at = speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert at.images is not None
    assert at.seconds_with_rating is not None
    assert at.flops_with_rating is not None
    assert (at.images.mean, at.images.low, at.images.high) == pytest.approx((2, 2, 2))
    assert set(at.bounds.values()) == {"exact"}
    assert [(o.images, t.images) for o, t in zip(at.ours, at.theirs, strict=True)] == [(500.0, 1000.0)] * 3
    with_rating = [100 / 80, 110 / 85, 120 / 90]
    assert at.seconds_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    with_rating = [20 / 15, 21 / 15.5, 22 / 16]
    assert at.flops_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    # Saved: 50, 55 and 60 s, so a rating of 30 s has paid for itself after one run.
    assert at.break_even_seconds.runs == 1
    dear = speedup(made, table, bills(made, held, 120.0), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert dear.break_even_seconds == BreakEven(runs=3, at_best=2, at_worst=3)
    assert dear.break_even_flops.runs == 1
    uncounted = speedup(
        made, table, bills(made, held, train_flops=None), "one", "zero", 0.5, "xs", "fd", 0.95
    )
    assert (uncounted.flops_with_rating, uncounted.break_even_flops.runs) == (None, None)
    assert uncounted.seconds_with_rating == at.seconds_with_rating


def test_a_baseline_pays_for_its_own_rating() -> None:
    """Against a random subset this cannot be seen: its rating costs nothing."""
    made = study("five", "one", ratios=(0.5,))
    held = scores(made, falling)
    cheap = bills(made, held)
    dear = {"log": [], "seconds": 120.0, "score_seconds": 20.0, "train_flops": 24e12, "score_flops": 1e12}
    costs = replace(cheap, logs={**cheap.logs, "r": dict.fromkeys(made.grid.seeds, dear)})
    at = speedup(made, tidy(made, held), costs, "one", "five", 0.5, "xs", "fd", 0.95)
    assert at.seconds_with_rating is not None
    assert at.flops_with_rating is not None
    with_rating = [(100 + 30) / (50 + 120), (110 + 30) / (55 + 120), (120 + 30) / (60 + 120)]
    assert at.seconds_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    with_rating = [(20 + 5) / (10 + 25), (21 + 5) / (10.5 + 25), (22 + 5) / (11 + 25)]
    assert at.flops_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    # Dearer by 90 s and 20 TFLOP; each run saves 55 s and 10.5 TFLOP on average.
    assert (at.break_even_seconds.runs, at.break_even_flops.runs) == (2, 2)
    same = speedup(made, tidy(made, held), cheap, "one", "five", 0.5, "xs", "fd", 0.95)
    assert (same.break_even_seconds.runs, same.break_even_flops.runs) == (0, 0)


def test_speedup_turned_round_is_the_inverse_in_clip() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling, clip=lambda cell, images: -falling(cell, images))
    table = tidy(made, held)
    lower, higher = (
        speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", m, 0.95) for m in ("fd", "clip")
    )
    assert lower.images == higher.images


def test_the_other_side_is_clocked_until_it_first_was_as_good() -> None:
    """A curve that rises again after its best must not be clocked until its end."""
    made = study("zero", "one", ratios=(0.5,))
    back = {100: 90.0, 200: 50.0, 500: 30.0, 1000: 50.0}
    held = scores(made, lambda cell, images: back[int(images)])
    table = tidy(made, held)
    at = speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert at.images is not None
    assert (at.theirs[0].images, at.images.mean) == (200.0, 1.0)


@pytest.mark.parametrize("metric", ["fd", "clip"])
def test_a_side_that_passes_its_best_sets_its_last_figure_or_its_best(metric: str) -> None:
    made = study("zero", "one", ratios=(0.5,))
    # The 60 that it ends with it had after 175 images.
    theirs = {100: 90.0, 200: 50.0, 500: 30.0, 1000: 60.0}
    ours = {100: 65.0, 200: 45.0, 500: 30.0, 1000: 20.0}

    def curve(cell: Cell, images: float) -> float:
        return (ours if cell.selection == "one" else theirs)[int(images)]

    held = scores(made, curve, clip=lambda cell, images: -curve(cell, images))
    table, costs = tidy(made, held), bills(made, held)
    last, best = (
        speedup(made, table, costs, "one", "zero", 0.5, "xs", metric, 0.95, goal=goal) for goal in GOALS
    )
    assert (last.theirs[0].images, last.ours[0].images) == (pytest.approx(175), pytest.approx(125))
    assert (best.theirs[0].images, best.ours[0].images) == (pytest.approx(500), pytest.approx(500))
    for at, factor in ((last, 1.4), (best, 1.0)):
        for of in (at.images, at.seconds, at.flops):
            assert of is not None
            assert (of.mean, of.low, of.high) == pytest.approx((factor,) * 3)
    assert abs(best.theirs[0].threshold) == 30.0
    # 5 s or more are saved until the end's figure, and none until the best.
    assert (last.break_even_seconds.runs, best.break_even_seconds.runs) == (6, None)


def test_a_best_that_is_never_had_again_gives_an_upper_bound() -> None:
    made = study("zero", "one", ratios=(0.5,))
    curves = {"zero": (90, 50, 30, 60), "one": (65, 45, 40, 35), FULL: (1, 1, 1, 1)}
    at = [round(share * BUDGET) for share in SHARES]
    held = scores(made, lambda cell, images: float(curves[cell.selection][at.index(int(images))]))
    costs = bills(made, held)
    found = speedup(made, tidy(made, held), costs, "one", "zero", 0.5, "xs", "fd", 0.95, goal="best")
    assert found.images is not None
    assert set(found.bounds.values()) == {"at most"}
    assert (found.images.low, found.images.mean, found.images.high) == pytest.approx((0, 0.5, 0.5))


def test_curves_that_never_turn_have_one_factor_whatever_the_goal() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling, clip=lambda cell, images: -falling(cell, images))
    table, costs = tidy(made, held), bills(made, held)
    for metric in ("fd", "clip"):
        last, best = (
            speedup(made, table, costs, "one", "zero", 0.5, "xs", metric, 0.95, goal=goal) for goal in GOALS
        )
        assert (last.goal, best.goal) == ("last", "best")
        assert replace(best, goal="last") == last


@pytest.mark.parametrize(
    ("ours", "theirs", "bound", "ratio", "ends"),
    [
        # Never: its last checkpoint stands in.
        ((9, 8, 7, 6), (5, 5, 5, 4), "at most", 1.0, (0.0, 1.0)),
        # Before the first checkpoint. Equal bounds are no interval without width.
        ((1, 1, 1, 1), (5, 5, 5, 4), "at least", 10.0, (10.0, math.inf)),
        ((6, 5, 4, 3), (4, 4, 4, 4), "at most", 0.2, (0.0, 0.2)),
        ((1, 1, 1, 1), (4, 4, 4, 4), "unknown", 1.0, (0.0, math.inf)),
        ((9, 9, 4, 3), (5, 5, 5, 4), "exact", 2.0, (2.0, 2.0)),
    ],
)
def test_bounds_where_a_figure_came_too_early_or_never(
    ours: tuple[float, ...], theirs: tuple[float, ...], bound: str, ratio: float, ends: tuple[float, float]
) -> None:
    made = study("zero", "one", ratios=(0.5,))
    at = [round(share * BUDGET) for share in SHARES]
    curves = {
        "one": dict(zip(at, ours, strict=True)),
        "zero": dict(zip(at, theirs, strict=True)),
        FULL: dict.fromkeys(at, 1),
    }
    held = scores(made, lambda cell, images: float(curves[cell.selection][int(images)]))
    table = tidy(made, held)
    found = speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert found.images is not None
    assert set(found.bounds.values()) == {bound}
    assert found.images.mean == pytest.approx(ratio)
    for of in (found.images, found.seconds, found.flops):
        assert of is not None
        assert (of.low, of.high) == pytest.approx(ends)
    assert found.seconds_with_rating is not None
    assert found.flops_with_rating is not None
    open_ends = ends[0] == 0, ends[1] == math.inf
    assert (found.seconds_with_rating.low == 0, found.seconds_with_rating.high == math.inf) == open_ends
    assert (found.flops_with_rating.low == 0, found.flops_with_rating.high == math.inf) == open_ends
    assert (found.ours[0].first, found.ours[0].last, found.most) == (100, BUDGET, 10.0)
    if found.ours[0].images is None:
        assert found.break_even_seconds == BreakEven(None, None, None)


@pytest.mark.parametrize(
    ("bounds", "claimed", "low", "high", "p"),
    [
        (("exact", "exact", "exact"), 1.0, None, None, None),
        (("exact", "at least", "exact"), 1.0, None, math.inf, None),  # one bound is enough
        (("exact", "at least", "exact"), 9.0, None, math.inf, 1.0),  # on the open side
        (("exact", "at most", "exact"), 9.0, 0.0, None, None),
        (("exact", "at most", "exact"), 1.0, 0.0, None, 1.0),
        (("at most", "at least", "exact"), 1.0, 0.0, math.inf, 1.0),
        (("exact", "exact", "unknown"), 9.0, 0.0, math.inf, 1.0),
    ],
)
def test_bounds_open_an_interval_and_take_its_test_away_on_that_side(
    bounds: tuple[Bound, ...], claimed: float, low: float | None, high: float | None, p: float | None
) -> None:
    at = statistics.ratio_interval([2.0, 2.2, 2.5], 0.95, claimed)
    found = _open(at, bounds, claimed)
    assert (found.n, found.mean, found.sd) == (at.n, at.mean, at.sd)
    assert found.low == (at.low if low is None else low)
    assert found.high == (at.high if high is None else high)
    assert (found.p_t, found.p_flip) == ((at.p_t, at.p_flip) if p is None else (p, p))


def test_one_seed_gives_ratios_but_no_interval() -> None:
    made = study("zero", "one", ratios=(0.5,), seeds=(4,))
    held = scores(made, falling)
    table = tidy(made, held)
    at = speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert (at.images, at.seconds, at.flops_with_rating) == (None, None, None)
    assert at.break_even_seconds == BreakEven(1, None, None)
    assert at.ours[0].images == 500.0


def test_seeds_that_do_not_match_are_refused() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling)
    table = tidy(made, held)
    table = table[table["cell"] != "one-0.5-xs-2"]
    with pytest.raises(Refusal, match=r"one at 0.5 for model xs has the seeds \[0, 1\]"):
        speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    with pytest.raises(Refusal, match="no cell of zero"):
        speedup(made, table, bills(made, held), "one", "zero", 0.2, "xs", "fd", 0.95)
