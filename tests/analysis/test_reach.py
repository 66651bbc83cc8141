import math

import pandas as pd
import pytest
from analysis_helpers import bills, falling, scores, study

from alchemist.analysis.cost import Spent
from alchemist.analysis.grid import FULL
from alchemist.analysis.reach import curves, time_to, times_to
from alchemist.analysis.results import tidy


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
    assert time_to(curve, threshold, higher) == images


def test_time_to_of_a_metric_that_rises() -> None:
    curve = pd.Series([1.0, 2.0, 4.0], index=[10, 20, 40])
    assert time_to(curve, 3.0, higher=True) == 30.0
    # Turned round it is the same question.
    assert time_to(-curve, -3.0) == 30.0
    assert time_to(pd.Series([math.nan, math.nan], index=[1, 2]), 3.0) is None


def test_times_to_the_final_figure_of_another() -> None:
    made = study("zero", "one")
    held = scores(made, falling)
    table = tidy(made, held)
    found = {(t.selection, t.ratio): t for t in times_to(made, table, bills(made, held), "xs", "fd", "zero")}
    assert list(found) == [("zero", 0.5), ("one", 0.5), ("zero", 0.2), ("one", 0.2)]
    ours = found["one", 0.2]
    assert (ours.images, ours.reached) == (500.0, 3)
    assert ours.training == Spent(pytest.approx(55.0), pytest.approx(1.05e13))
    assert ours.with_rating == Spent(pytest.approx(85.0), pytest.approx(1.55e13))
    assert found["zero", 0.2].with_rating == found["zero", 0.2].training
    to_full = times_to(made, table, bills(made, held), "xs", "fd", FULL)
    assert (to_full[0].selection, to_full[0].images) == (FULL, 1000.0)
    assert len(to_full) == 5, "the full data stands beside arms of every ratio"
    to_ours = times_to(made, table, bills(made, held), "xs", "fd", "one")
    random = next(t for t in to_ours if t.selection == "zero")
    assert (random.reached, random.images, random.training, random.with_rating) == (0, None, None, None)
    assert times_to(made, table, bills(made, held), "another", "fd", FULL) == []


def test_best_checkpoints_beside_the_named_ones_are_no_points_of_a_curve() -> None:
    rows = [
        (seed, "xs", "one", 0.5, point, images, float(images))
        for seed in (0, 1)
        for point, images in (("equal_epochs", 500), ("best", 300 + 100 * seed), ("equal_images", 1000))
    ]
    table = pd.DataFrame(rows, columns=["seed", "model", "selection", "ratio", "point", "images", "fd"])
    assert [list(c.index) for c in curves(table, "one", 0.5, "xs", "fd").values()] == [[500, 1000]] * 2
    # Where all checkpoints were measured, the best one is among them.
    table.loc[table["point"] == "best", "images"] = 300
    assert [list(c.index) for c in curves(table, "one", 0.5, "xs", "fd").values()] == [[300, 500, 1000]] * 2
