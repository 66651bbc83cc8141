import math
from typing import Any

import pandas as pd
import pytest
from analysis_helpers import bills, deciding, scores, speed, study

from alchemist.analysis.claims import verdicts
from alchemist.analysis.grid import Cell, Study
from alchemist.analysis.judges_of_speed import times
from alchemist.analysis.results import tidy
from alchemist.analysis.speedup import speedup


@pytest.mark.parametrize(
    ("factor", "seconds", "out", "whole", "verdict"),
    [
        (4.0, 0.6, "supported", "supported", "undecided"),  # the other ratio is not in the grid
        (4.0, 60.0, "supported", "not supported", "not supported"),
        (2.0, 0.6, "not supported", "not supported", "not supported"),
        (0.5, 0.6, "not supported", "not supported", "not supported"),  # never as good
        (60.0, 0.6, "supported", "supported", "undecided"),  # before the first checkpoint: at least
    ],
)
def test_speedup_without_and_with_the_rating(
    factor: float, seconds: float, out: str, whole: str, verdict: str
) -> None:
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(factor))
    cost = bills(made, held, seconds, train_flops=seconds * 1e11, score_flops=0.0)
    found = verdicts(made, tidy(made, held), 0.95, bills=cost)[6]
    alone, with_rating = deciding(found)
    assert (alone.claimed, alone.unit, alone.better) == (2.33, "times", 1)
    assert (alone.verdict, with_rating.verdict, found.verdict) == (out, whole, verdict)
    assert ("As fast as claimed only while the cost of the rating" in found.why) is (out != whole)
    assert ("never had the final FD" in found.why) is (factor < 1)
    assert "Tested in part: 50 % is not in the grid" in found.why
    assert ("where the factor is a lower bound" in found.why) is (factor > 10)
    assert "FLOPs" in with_rating.what
    assert [p.decides for p in found.parts if "seconds" in p.what] == [False, False]


def test_seconds_decide_where_operations_were_not_counted() -> None:
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(4.0))
    found = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held, train_flops=None))[6]
    assert ["seconds" in p.what for p in deciding(found)] == [False, True]


def test_a_bound_decides_on_its_own_side_alone() -> None:
    """Reached before the first checkpoint: at least 10 times by the images, which cannot refute 20 times."""
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, speed(60.0))
    at = speedup(made, tidy(made, held), bills(made, held), "one", "zero", 0.2, "xs", "fd", 0.95, 20.0)
    assert set(at.bounds.values()) == {"at least"}
    assert at.images is not None
    assert (at.images.low, at.images.high) == (pytest.approx(10.0), math.inf)
    assert times(at, at.images, 20.0, "", True)[0].verdict == "undecided"
    assert times(at, at.images, 5.0, "", True)[0].verdict == "supported"


def first_at(images: int, factor: float) -> tuple[Study, pd.DataFrame, Any]:
    """Both arms, at 50 %, with checkpoints from a number of images on."""
    made = study("zero", "one", ratios=(0.5,))
    held = scores(made, speed(factor))
    table = tidy(made, held)
    return made, table[table["images"] >= images], bills(made, held)


@pytest.mark.parametrize("factor", [60.0, 1.5])
def test_a_first_checkpoint_that_cannot_show_the_claimed_factor_is_told(factor: float) -> None:
    made, table, cost = first_at(500, factor)
    found = verdicts(made, table, 0.95, bills=cost)[6]
    said = "At 50 % the first checkpoint of one, 500 images, cannot show a factor above 2, "
    assert f"{said}and the claimed one is 5." in found.why
    # Not more than 2 times seen is no more than 5 times only where it was seen at a later checkpoint.
    assert found.verdict == ("undecided" if factor == 60.0 else "not supported")
    made, table, cost = first_at(200, factor)
    assert "cannot show a factor above 5, and" in verdicts(made, table, 0.95, bills=cost)[6].why
    made, table, cost = first_at(100, factor)
    assert "cannot show" not in verdicts(made, table, 0.95, bills=cost)[6].why


def test_a_factor_that_is_a_bound_in_every_seed_is_told_as_one() -> None:
    made, table, cost = first_at(500, 60.0)
    found = verdicts(made, table, 0.95, bills=cost)[6]
    part = deciding(found)[0]
    assert (part.interval.low, part.interval.high) == (pytest.approx(2.0), math.inf)
    assert "at least 2 times against the claimed 5 (95 % interval 2 or more, n = 3)" in found.why
    made, table, cost = first_at(100, 0.5)
    found = verdicts(made, table, 0.95, bills=cost)[6]
    assert found.verdict == "not supported"
    assert "or less, n = 3)" in found.why
    assert "at most" in found.why


def test_seeds_of_which_nothing_is_known_decide_nothing() -> None:
    """Both sides were as good at the first checkpoint: seen is a factor of 1, and known is none."""
    made = study("zero", "one", ratios=(0.2,))
    held = scores(made, lambda cell, images: (1.0 if cell.selection == "one" else 4.0) + cell.seed)
    found = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held))[6]
    assert [p.verdict for p in deciding(found)] == ["undecided", "undecided"]
    assert {(p.interval.low, p.interval.high) for p in deciding(found)} == {(0.0, math.inf)}
    assert found.verdict == "undecided"
    assert "open at both ends" in found.why


def test_a_random_subset_past_its_best_is_told_and_its_best_decides_nothing() -> None:
    made = study("zero", "one", ratios=(0.2,))
    theirs = {100: 90.0, 200: 50.0, 500: 30.0, 1000: 80.0}

    def fd(cell: Cell, images: float) -> float:
        return theirs[int(images)] if cell.selection != "one" else 80.0 - images / 10

    held = scores(made, fd, nll=speed(4.0))
    found = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held))[6]
    # Until 80: after 100 images or less here, after 125 there. Until 30: after 500 in both.
    first = "until the final FD of zero at 20 %"
    assert {p.what for p in deciding(found)} == {
        f"images, one {first}",
        f"FLOPs with the rating, one {first}",
    }
    by_part = {p.what: p for p in found.parts}
    assert len(by_part) == len(found.parts)
    for part in found.parts:  # whatever is shown until the final figure stands there until the best
        if "until the final" in part.what:
            beside = by_part[part.what.replace("until the final", "until the best")]
            assert not beside.decides
            assert "NLL" not in part.what or beside.interval == part.interval
    assert by_part[f"images, one {first}"].interval.mean == pytest.approx(1.25)
    assert by_part["images, one until the best FD of zero at 20 %"].interval.mean == pytest.approx(1.0)
    assert (
        "At 20 % zero had its best FD before its last checkpoint in 3 of 3 seeds; in images until that "
        "best, 1 times against the claimed 2.33 (95 % interval 1 to 1, n = 3)."
    ) in found.why
    held = scores(made, speed(4.0))
    whole = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held))[6]
    assert "best FD" not in whole.why


def test_each_ratio_has_its_own_claim() -> None:
    made = study("zero", "one")
    held = scores(made, speed(4.0))
    found = verdicts(made, tidy(made, held), 0.95, bills=bills(made, held, 0.6))[6]
    assert [(p.ratio, p.claimed) for p in deciding(found)] == [(0.2, 2.33), (0.5, 5.0)] * 2
    assert [p.verdict for p in deciding(found)][:2] == ["supported", "not supported"]
    assert verdicts(made, tidy(made, held), 0.95)[6].verdict == "not tested"
