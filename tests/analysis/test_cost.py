import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pandas as pd
import pytest

from alchemist.analysis import cost, statistics
from alchemist.analysis import results as report
from alchemist.analysis.cost import Bills, BreakEven, Spent
from alchemist.analysis.results import FULL, Cell, Study
from alchemist.core.refusal import Refusal
from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import rater_settings
from alchemist.settings.selection import SelectionSettings

BUDGET = 1000  # images of every cell
SHARES = (0.1, 0.2, 0.5, 1.0)  # of the budget, at which there are checkpoints
META = {
    "kind": "meta", "credit": "penalty", "reference_warmup": None, "unroll_steps": None, "group": "product",
    "rating_mode": "reference_group", "baseline": "validation", "bound": 2.0, "upper_weight": 1.0,
    "upper_decay": 0.03, "epochs": 10, "weights": None,
}  # fmt: skip
RATERS = {
    "r": META,
    "bare": META | {"group": "none", "baseline": "none"},
    "low": {"kind": "loss", "direction": -1},
    "dice": {"kind": "random"},
    "fit": {"kind": "clip_score", "direction": 1},
}
# Names that tell nothing of what the selections are.
SELECTIONS = {
    "zero": ("dice", "random"), "one": ("r", "shift_gsample"), "two": ("r", "gsample"),
    "three": ("r", "topk"), "four": ("bare", "shift_gsample"), "five": ("low", "shift_gsample"),
    "six": ("fit", "topk"),
}  # fmt: skip
Curve = Callable[[Cell, float], float]


def study(
    *names: str,
    ratios: tuple[float, ...] = (0.5, 0.2),
    seeds: tuple[int, ...] = (0, 1, 2),
    transfer: tuple[str, ...] = (),
    selections: dict[str, dict[str, Any]] | None = None,
    raters: dict[str, dict[str, Any]] | None = None,
) -> Study:
    none = {"start": None, "drop": None, "mean": None, "sigma": None, "seed": 0}
    blocks = {n: {"rater": r, "sampler": s, **none} for n, (r, s) in SELECTIONS.items()}
    blocks |= {n: {**none, **block} for n, block in (selections or {}).items()}
    rest = {"raters": (), "embeddings": (), "heuristics": (), "oracles": ()}
    moved = bool(transfer)
    grid = GridSettings.model_validate(
        {
            "selections": names, "ratios": ratios, "models": ("xs",), "seeds": seeds, **rest,
            "ablation": {"selections": (), "ratios": ()},
            "transfer": {
                "selections": names if moved else (), "ratios": ratios if moved else (), "models": transfer,
            },
        }
    )  # fmt: skip
    chosen = {n: SelectionSettings.model_validate(blocks[n]) for n in names}
    kinds = RATERS | (raters or {})
    return Study(grid, chosen, {s.rater: rater_settings(kinds[s.rater], s.rater) for s in chosen.values()})


def scores(
    made: Study, fd: Curve, nll: Curve | None = None, clip: Curve | None = None
) -> dict[str, dict[str, Any]]:
    """Every cell takes 10 s and 1e12 operations more for each seed, 100 s and 2e13 for the budget."""
    out = {}
    for cell in made.cells():
        checkpoints = []
        for share in SHARES:
            images = round(share * BUDGET)
            points = [p for p, at in (("equal_epochs", cell.ratio), ("equal_images", 1.0)) if at == share]
            figures = {
                "F": fd(cell, images),
                "F_tokenized": 0.0,
                "K": 0.0,
                "K_sd": 0.0,
                "C": (clip or fd)(cell, images),
                "nll": (nll or fd)(cell, images),
            }
            checkpoints.append(
                {"images": images, "epochs": 1.0, "points": points or ["curve"], "seconds": 1.0} | figures
            )
        out[cell.name] = {
            "subset_pairs": 50, "train_seconds": 100.0 + 10 * cell.seed,
            "train_flops": 2e13 + 1e12 * cell.seed, "checkpoints": checkpoints,
            "names": {"fd": "F", "kid": "K", "clip": "C"},
        }  # fmt: skip
    return out


def bills(made: Study, held: dict[str, dict[str, Any]], seconds: float = 30.0, **facts: Any) -> Bills:
    """A rater costs 25 s of training and 5 s of scoring, and 4e12 and 1e12 operations."""
    log = {
        "log": [], "seconds": seconds, "score_seconds": seconds / 6, "train_flops": 4e12, "score_flops": 1e12,
    } | facts  # fmt: skip
    free = {"log": [], "seconds": 0.0, "score_seconds": 0.0}
    logs = {
        name: dict.fromkeys(made.grid.seeds, free if rater.kind == "random" else log)
        for name, rater in made.raters.items()
    }
    return Bills(held, logs, {"encode": {"seconds": 9.0, "flops": 7e12}, "scorer": {"seconds": 40.0}})


def falling(cell: Cell, images: float) -> float:
    """Selection one is as good after half of the images as the others are at the end."""
    return 200.0 - images / 10 * (2 if cell.selection == "one" else 1) + cell.seed


@pytest.mark.parametrize(
    ("threshold", "higher", "images"),
    [
        (7.0, False, 250.0),  # halfway from 8 to 6
        (8.0, False, 200.0),  # at a checkpoint
        (10.0, False, 100.0),  # at the first
        (99.0, False, 100.0),  # before the first: no guess
        (3.0, False, None),
        (5.0, False, 350.0),  # the first crossing, though the curve comes back
        (7.0, True, 100.0),
        (11.0, True, None),
        (10.0, True, 100.0),
    ],
)
def test_time_to_is_linear_between_checkpoints(threshold: float, higher: bool, images: float | None) -> None:
    curve = pd.Series([10.0, 8.0, 6.0, 4.0, 9.0], index=[100, 200, 300, 400, 500])
    assert cost.time_to(curve, threshold, higher) == images


def test_time_to_of_a_metric_that_rises() -> None:
    curve = pd.Series([1.0, 2.0, 4.0], index=[10, 20, 40])
    assert cost.time_to(curve, 3.0, higher=True) == 30.0
    # Turned round it is the same question.
    assert cost.time_to(-curve, -3.0) == 30.0
    assert cost.time_to(pd.Series([math.nan, math.nan], index=[1, 2]), 3.0) is None


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
    assert cost.break_even(rating, theirs, ours) == runs


def test_a_resumed_rater_is_clocked_whole() -> None:
    facts = {"seconds": 8.0, "score_seconds": 5.0, "log": [{"seconds": 4.0}, {"seconds": 25.0}]}
    assert cost.rating_cost(facts) == (Spent(25.0, None), Spent(5.0, None))
    assert cost.rating_cost(facts | {"seconds": 60.0})[0].seconds == 55.0


def test_uncounted_operations_stay_uncounted_in_sums() -> None:
    assert Spent(1.0, 2.0) + Spent(3.0, None) == Spent(4.0, None)
    assert (Spent(1.0, 2e12) + Spent(3.0, 1e12)).tflop == 3.0


def test_costs_of_every_arm() -> None:
    made = study("zero", "one", "six")
    held = bills(made, scores(made, falling))
    at = {(c.selection, c.ratio): c for c in cost.costs(made, held)}
    assert next(iter(at)) == (FULL, 1.0)
    # Seeds take 100, 110 and 120 s for the whole budget; at equal epochs an arm spends its ratio of it.
    assert at[FULL, 1.0].training == Spent(pytest.approx(110.0), pytest.approx(2.1e13))
    ours = at["one", 0.2]
    assert ours.training == Spent(pytest.approx(22.0), pytest.approx(4.2e12))
    assert (ours.rating_train, ours.rating_score) == (Spent(25.0, 4e12), Spent(5.0, 1e12))
    assert ours.total == Spent(pytest.approx(52.0), pytest.approx(9.2e12))
    assert ours.encode == Spent(9.0, 7e12)
    assert (ours.scorer, at[FULL, 1.0].rating, at["zero", 0.5].rating) == (None, None, Spent(0.0, 0.0))
    # Only the rater that reads the scorer pays for it; its operations were not counted.
    assert at["six", 0.5].rating == Spent(70.0, None)
    whole = {(c.selection, c.ratio): c for c in cost.costs(made, held, "equal_images")}
    assert whole["one", 0.2].training == whole[FULL, 1.0].training


def test_costs_refuse_a_point_that_was_not_measured() -> None:
    made = study("zero")
    held = scores(made, falling)
    held["zero-0.5-xs-1"]["checkpoints"][2]["points"] = ["curve"]
    with pytest.raises(Refusal, match=r"zero-0\.5-xs-1 was not measured at equal_epochs"):
        cost.costs(made, bills(made, held))


def test_speedup_in_images_seconds_and_operations() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling)
    table = report.tidy(made, held)
    at = cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
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
    dear = cost.speedup(made, table, bills(made, held, 120.0), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert dear.break_even_seconds == BreakEven(runs=3, at_best=2, at_worst=3)
    assert dear.break_even_flops.runs == 1
    uncounted = cost.speedup(
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
    at = cost.speedup(made, report.tidy(made, held), costs, "one", "five", 0.5, "xs", "fd", 0.95)
    assert at.seconds_with_rating is not None
    assert at.flops_with_rating is not None
    with_rating = [(100 + 30) / (50 + 120), (110 + 30) / (55 + 120), (120 + 30) / (60 + 120)]
    assert at.seconds_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    with_rating = [(20 + 5) / (10 + 25), (21 + 5) / (10.5 + 25), (22 + 5) / (11 + 25)]
    assert at.flops_with_rating.mean == pytest.approx(math.prod(with_rating) ** (1 / 3))
    # Dearer by 90 s and 20 TFLOP; each run saves 55 s and 10.5 TFLOP on average.
    assert (at.break_even_seconds.runs, at.break_even_flops.runs) == (2, 2)
    same = cost.speedup(made, report.tidy(made, held), cheap, "one", "five", 0.5, "xs", "fd", 0.95)
    assert (same.break_even_seconds.runs, same.break_even_flops.runs) == (0, 0)


def test_speedup_turned_round_is_the_inverse_in_clip() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling, clip=lambda cell, images: -falling(cell, images))
    table = report.tidy(made, held)
    lower, higher = (
        cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", m, 0.95)
        for m in ("fd", "clip")
    )
    assert lower.images == higher.images


def test_the_other_side_is_clocked_until_it_first_was_as_good() -> None:
    """A curve that rises again after its best must not be clocked until its end."""
    made = study("zero", "one", ratios=(0.5,))
    back = {100: 90.0, 200: 50.0, 500: 30.0, 1000: 50.0}
    held = scores(made, lambda cell, images: back[int(images)])
    table = report.tidy(made, held)
    at = cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert at.images is not None
    assert (at.theirs[0].images, at.images.mean) == (200.0, 1.0)


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
    table = report.tidy(made, held)
    found = cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
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
    bounds: tuple[cost.Bound, ...], claimed: float, low: float | None, high: float | None, p: float | None
) -> None:
    at = statistics.ratio_interval([2.0, 2.2, 2.5], 0.95, claimed)
    found = cost._open(at, bounds, claimed)
    assert (found.n, found.mean, found.sd) == (at.n, at.mean, at.sd)
    assert found.low == (at.low if low is None else low)
    assert found.high == (at.high if high is None else high)
    assert (found.p_t, found.p_flip) == ((at.p_t, at.p_flip) if p is None else (p, p))


def test_one_seed_gives_ratios_but_no_interval() -> None:
    made = study("zero", "one", ratios=(0.5,), seeds=(4,))
    held = scores(made, falling)
    table = report.tidy(made, held)
    at = cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    assert (at.images, at.seconds, at.flops_with_rating) == (None, None, None)
    assert at.break_even_seconds == BreakEven(1, None, None)
    assert at.ours[0].images == 500.0


def test_times_to_the_final_figure_of_another() -> None:
    made = study("zero", "one")
    held = scores(made, falling)
    table = report.tidy(made, held)
    found = {
        (t.selection, t.ratio): t for t in cost.times_to(made, table, bills(made, held), "xs", "fd", "zero")
    }
    assert list(found) == [("zero", 0.5), ("one", 0.5), ("zero", 0.2), ("one", 0.2)]
    ours = found["one", 0.2]
    assert (ours.images, ours.reached) == (500.0, 3)
    assert ours.training == Spent(pytest.approx(55.0), pytest.approx(1.05e13))
    assert ours.with_rating == Spent(pytest.approx(85.0), pytest.approx(1.55e13))
    assert found["zero", 0.2].with_rating == found["zero", 0.2].training
    to_full = cost.times_to(made, table, bills(made, held), "xs", "fd", FULL)
    assert (to_full[0].selection, to_full[0].images) == (FULL, 1000.0)
    to_ours = cost.times_to(made, table, bills(made, held), "xs", "fd", "one")
    random = next(t for t in to_ours if t.selection == "zero")
    assert (random.reached, random.images, random.training, random.with_rating) == (0, None, None, None)
    assert cost.times_to(made, table, bills(made, held), "another", "fd", FULL) == []


def test_seeds_that_do_not_match_are_refused() -> None:
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, falling)
    table = report.tidy(made, held)
    table = table[table["cell"] != "one-0.5-xs-2"]
    with pytest.raises(Refusal, match=r"one at 0.5 for model xs has the seeds \[0, 1\]"):
        cost.speedup(made, table, bills(made, held), "one", "zero", 0.5, "xs", "fd", 0.95)
    with pytest.raises(Refusal, match="no cell of zero"):
        cost.speedup(made, table, bills(made, held), "one", "zero", 0.2, "xs", "fd", 0.95)
