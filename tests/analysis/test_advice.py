"""The advice on planted tables: a clear winner, ties, noise, one seed, arms that are missing."""

import json

import numpy as np
import pandas as pd
import pytest
from analysis_helpers import bills, scores, study

from alchemist.analysis import advice
from alchemist.analysis.advice import Blocks, advise, as_json
from alchemist.analysis.grid import FULL
from alchemist.analysis.results import tidy
from alchemist.analysis.statistics import paired

HALF = 0.5


def given(levels, *names, noise=0.05, seeds=(0, 1), ratios=(HALF,), nll=None, likelihood=True, **more):
    """Advice on arms of planted means, a common part of each seed, and noise of their own."""
    made = study(*names, ratios=ratios, seeds=seeds, **more)
    rng = np.random.default_rng(1)
    own = {cell.name: noise * rng.normal() for cell in made.cells()}

    def curve(of):
        return lambda cell, images: of[cell.selection] + 50 * cell.seed + own[cell.name]

    held = scores(made, curve(levels), nll=curve(nll or levels), likelihood=likelihood)
    return made, advise(made, tidy(made, held), bills(made, held), 0.95)


def word(found, name):
    return next(one.word for one in found.arms if one.arm[0] == name)


def test_a_clear_winner_is_taken_with_its_interval():
    _, found = given({FULL: 10, "zero": 10, "one": 4, "five": 9.9}, "zero", "one", "five")
    assert found.take.arm == ("one", HALF)
    assert found.take.against == ("zero", HALF)
    assert found.level == (("one", HALF),)
    for gap in found.take.gaps.values():
        assert gap.low < -6 < gap.high < 0
    assert word(found, "five") == "open"


def test_ties_end_with_what_costs_nothing_and_keeps_most():
    _, found = given(dict.fromkeys((FULL, "zero", "one", "two"), 7), "zero", "one", "two")
    assert {one.word for one in found.arms} == {"open"}
    assert found.take.arm == (FULL, 1.0)
    assert found.level == ((FULL, 1.0), ("zero", HALF)), "arms that are not better are not offered"


def test_equal_figures_have_intervals_without_width_and_no_winner():
    _, found = given(dict.fromkeys((FULL, "zero", "one"), 7), "zero", "one", noise=0.0)
    assert found.take.arm == (FULL, 1.0)
    assert found.resolves == {"fd": 0.0, "nll": 0.0}


def test_of_two_level_winners_the_cheaper_is_taken():
    made, found = given({FULL: 10, "zero": 10, "one": 4.0, "five": 4.01}, "zero", "one", "five")
    assert set(found.level) == {("one", HALF), ("five", HALF)}
    held = scores(made, lambda cell, images: {FULL: 10, "zero": 10, "one": 4, "five": 4.01}[cell.selection]
                  + 0.05 * ((cell.seed + len(cell.selection)) % 2))  # fmt: skip
    costs = bills(made, held)
    dear = {s: facts | {"train_flops": 9e12} for s, facts in costs.logs["r"].items()}
    costs.logs["r"] = dear
    assert advise(made, tidy(made, held), costs, 0.95).take.arm == ("five", HALF)


def test_a_random_half_that_beats_everything_is_taken():
    _, found = given({FULL: 10, "zero": 6, "one": 6}, "zero", "one")
    assert word(found, FULL) == "worse"
    assert found.take.arm == ("zero", HALF)
    assert found.take.against == (FULL, 1.0)


def test_an_arm_better_in_one_figure_and_worse_in_the_other_is_not_taken():
    fd = {FULL: 10, "zero": 10, "one": 4}
    _, found = given(fd, "zero", "one", nll={FULL: 10, "zero": 10, "one": 16})
    assert word(found, "one") == "both"
    assert found.take.arm == (FULL, 1.0)
    _, alone = given(fd, "zero", "one", nll={FULL: 10, "zero": 10, "one": 16}, likelihood=False)
    assert list(alone.resolves) == ["fd"], "a family without a likelihood is judged by FD alone"
    assert alone.take.arm == ("one", HALF)


def test_noise_that_hides_the_difference_gives_no_winner():
    _, found = given({FULL: 10, "zero": 10, "one": 9}, "zero", "one", noise=2.0)
    assert found.take.arm == (FULL, 1.0)
    assert min(found.resolves.values()) > 1


def test_one_seed_or_no_random_subset_gives_no_advice_and_says_why():
    _, alone = given({FULL: 10, "zero": 10, "one": 4}, "zero", "one", seeds=(0,))
    assert alone.take is None
    assert "one seed" in alone.why
    _, without = given({FULL: 10, "one": 4, "five": 5}, "one", "five")
    assert without.take is None
    assert "no random subset" in without.why


def test_each_ratio_is_compared_with_its_own_random_subset():
    levels = {FULL: 10, "zero": 10, "one": 4}
    _, found = given(levels, "zero", "one", ratios=(0.5, 0.2))
    beside = {one.arm: one.against for one in found.arms}
    assert beside[("one", 0.5)] == ("zero", 0.5)
    assert beside[("one", 0.2)] == ("zero", 0.2)
    assert beside[(FULL, 1.0)] == ("zero", 0.5)
    assert ("zero", 0.2) not in beside


def test_arms_that_read_planted_truth_are_left_out():
    truth = {
        "selections": {"eight": {"rater": "oracle", "sampler": "topk"}},
        "raters": {"oracle": {"kind": "oracle"}},
    }
    levels = {FULL: 10, "zero": 10, "one": 9.9, "eight": 1}
    _, found = given(levels, "zero", "one", "eight", **truth)
    assert "eight" not in {one.arm[0] for one in found.arms}
    assert found.take.arm == (FULL, 1.0)


def test_with_two_arms_the_interval_is_the_paired_one():
    rng = np.random.default_rng(3)
    figures = pd.DataFrame(rng.normal(size=(2, 5)), index=["a", "b"])
    gap = Blocks(figures, 0.95, 1).gap("a", "b")
    at = paired(figures.loc["a"] - figures.loc["b"], 0.95)
    assert (gap.low, gap.mean, gap.high) == pytest.approx((at.low, at.mean, at.high))


def test_the_intervals_hold_together_as_often_as_they_say():
    """Eight arms without any difference, two seeds: all seven intervals hold zero in at least 95 %."""
    rng, held, runs = np.random.default_rng(4), 0, 600
    for _ in range(runs):
        figures = pd.DataFrame(rng.normal(size=(8, 2)) + 9 * rng.normal(size=(1, 2)), index=list("abcdefgh"))
        blocks = Blocks(figures, 0.95, 7)
        held += all(blocks.gap(arm, "a").low <= 0 <= blocks.gap(arm, "a").high for arm in "bcdefgh")
    # Bonferroni is on the safe side; three standard errors of 600 draws are .027.
    assert held / runs > 0.95 - 0.027


def test_the_order_of_rows_changes_nothing_and_all_is_json():
    made = study("zero", "one", "five", ratios=(HALF,), seeds=(0, 1))
    levels = {FULL: 10, "zero": 10, "one": 4, "five": 9}
    held = scores(
        made, lambda cell, images: levels[cell.selection] + 0.1 * ((3 * cell.seed + len(cell.name)) % 4)
    )
    table = tidy(made, held)
    first = advise(made, table, bills(made, held), 0.95)
    again = advise(made, table.iloc[::-1].reset_index(drop=True), bills(made, held), 0.95)
    assert first == again
    told = json.loads(json.dumps(as_json(first, ["Take it."])))
    assert told["take"] == ["one", HALF]
    assert {tuple(one["arm"]) for one in told["arms"]} == {(FULL, 1.0), ("one", HALF), ("five", HALF)}
    assert advice.POINT == told["point"] == "equal_images"
