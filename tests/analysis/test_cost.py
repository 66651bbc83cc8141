from dataclasses import replace

import pytest
from analysis_helpers import bills, falling, scores, study

from alchemist.analysis import cost
from alchemist.analysis.cost import Spent
from alchemist.analysis.grid import FULL
from alchemist.analysis.results import tidy
from alchemist.core.refusal import Refusal
from alchemist.raters import bill


def test_a_resumed_rater_is_clocked_whole() -> None:
    seconds = bill.clocked(8.0, 5.0, 25.0)
    facts = {"seconds": seconds, "score_seconds": 5.0}
    assert cost.rating_cost("loss", facts) == (Spent(25.0, None), Spent(5.0, None))
    assert cost.rating_cost("random", facts) == (Spent(25.0, 0.0), Spent(5.0, 0.0)), "a draw at random"
    assert bill.clocked(60.0, 5.0, 25.0) == 60.0


def test_uncounted_operations_stay_uncounted_in_sums() -> None:
    assert Spent(1.0, 2.0) + Spent(3.0, None) == Spent(4.0, None)
    assert (Spent(1.0, 2e12) + Spent(3.0, 1e12)).tflop == 3.0


def test_rows_of_a_table_with_what_they_took() -> None:
    made = study("zero", "one", "six")
    found = scores(made, falling)
    held = bills(made, found)
    rows = cost.priced(made, held, tidy(made, found)).set_index(["selection", "ratio", "seed", "point"])
    for one in cost.costs(made, held):
        here = rows.xs((one.selection, one.ratio, one.point), level=["selection", "ratio", "point"])
        assert here["train_tflop"].mean() == pytest.approx(one.training.tflop)
        rating = one.rating.tflop if one.rating is not None else 0.0
        assert here["rate_tflop"].isna().all() if rating is None else (here["rate_tflop"] == rating).all()
    # Until half of the images half of the operations.
    full = rows.xs((FULL, 1.0, 0), level=["selection", "ratio", "seed"])
    until = full.groupby("images")["train_tflop"].first()
    assert until[500] == pytest.approx(until[1000] / 2)
    # A rating that nobody clocks, as the oracle's, is not one that costs nothing.
    free = cost.priced(made, replace(held, logs={}), tidy(made, found)).set_index("selection")["rate_tflop"]
    assert free["one"].isna().all()
    assert (free[FULL] == 0).all()


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
