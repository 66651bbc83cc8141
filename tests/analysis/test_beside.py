"""Every arm beside its controls: differences, the noise that all arms share, and which pairs there are."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alchemist.analysis.beside import beside

MEANS = {
    ("full", 1.0): 320.0,
    ("random", 0.5): 340.0,
    ("bare", 0.5): 335.0,
    ("bare", 1.0): 318.0,
    ("one", 0.5): 310.0,
}
CONTROLS = ["random", "bare", "full"]


def table(seeds: int = 6, models: tuple[str, ...] = ("xs",)) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"selection": selection, "ratio": ratio, "model": model, "seed": seed, "point": point,
         "fd": mean + 10 * seed + rng.normal(), "nll": math.nan if selection == "one" else 5.0,
         "train_loss": 4.0 + seed / 10, "validation_loss": 5.0 + ratio + (point == "curve")}
        for model in models
        for (selection, ratio), mean in MEANS.items()
        for seed in range(seeds)
        for point in ("curve", "equal_images")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_each_arm_beside_the_controls_of_its_ratio_and_everything() -> None:
    found = {one.arm: one for one in beside(table(), "equal_images", ["fd", "nll"], CONTROLS, 0.95)}
    assert {
        arm: [control for metric, control in one.less if metric == "fd"] for arm, one in found.items()
    } == {
        ("full", 1.0): [],
        ("random", 0.5): ["bare", "full"],
        ("bare", 0.5): ["random", "full"],
        ("bare", 1.0): ["full"],
        ("one", 0.5): ["random", "bare", "full"],
    }
    assert {arm for arm, one in found.items() if "nll" in one.means} == {*MEANS} - {("one", 0.5)}  # has none
    assert len(found["bare", 0.5].less) == 4
    for ratio, gap in ((0.5, 1.25), (1.0, 1.75)):
        assert found["bare", ratio].losses["gap"].mean == pytest.approx(gap)


def test_a_pool_without_held_out_pairs_has_no_losses() -> None:
    for lacking in (table().drop(columns="validation_loss"), table().assign(validation_loss=math.nan)):
        assert all(one.losses == {} for one in beside(lacking, "equal_images", ["fd"], CONTROLS, 0.95))


def test_differences_and_an_interval_that_holds_for_all_together() -> None:
    rows = table()
    here = rows[rows["point"] == "equal_images"].pivot_table(
        index=["selection", "ratio"], columns="seed", values="fd"
    )
    gap = {one.arm: one for one in beside(rows, "equal_images", ["fd"], CONTROLS, 0.95)}["one", 0.5].less[
        "fd", "bare"
    ]
    assert gap.mean == pytest.approx(float((here.loc["one", 0.5] - here.loc["bare", 0.5]).mean()))
    rest = here.sub(here.mean(axis=1), axis=0)
    rest = rest - rest.mean(axis=0)  # what all arms of a seed share is no noise of a difference
    sd = math.sqrt(float((rest**2).to_numpy().sum()) / (4 * 5))
    assert sd < 2
    assert gap.half == pytest.approx(stats.t.ppf(1 - 0.025 / 8, 20) * sd * math.sqrt(2 / 6))


def test_models_stand_apart_and_the_order_of_rows_is_nothing() -> None:
    rows = table(models=("xs", "s"))
    found = beside(rows, "equal_images", ["fd"], CONTROLS, 0.95)
    assert [one.model for one in found] == ["xs"] * 5 + ["s"] * 5
    assert found[:5] == beside(table(), "equal_images", ["fd"], CONTROLS, 0.95)
    mixed = beside(rows.sample(frac=1, random_state=1), "equal_images", ["fd"], CONTROLS, 0.95)
    for one in found:
        same = next(other for other in mixed if (other.arm, other.model) == (one.arm, one.model))
        assert {key: (gap.mean, gap.half) for key, gap in same.less.items()} == {
            key: (pytest.approx(gap.mean), pytest.approx(gap.half)) for key, gap in one.less.items()
        }
