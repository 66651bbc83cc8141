"""Arms at equal cost: who stands on the front, and after how many targets a rating has paid."""

import math

import pandas as pd
import pytest

from alchemist.analysis.arena import arena

COSTS = {  # selection: rating, training at half and whole, FD at half and whole
    "full": (0.0, (10.0, 20.0), (340.0, 320.0)),
    "random": (0.0, (10.0, 20.0), (345.0, 330.0)),
    "rated": (8.0, (10.0, 20.0), (325.0, 300.0)),
    "dear": (30.0, (10.0, 20.0), (330.0, 320.0)),
    "unknown": (math.nan, (10.0, 20.0), (310.0, 290.0)),
}


def table(metric: str = "fd", sign: int = 1) -> pd.DataFrame:
    rows = []
    for name, (rating, training, figures) in COSTS.items():
        for seed in (0, 1):
            for images, cost, figure in zip((500, 1000), training, figures, strict=True):
                for point in ["curve"] if images == 500 else ["equal_images", "best"]:
                    rows.append(
                        {"selection": name, "ratio": 0.5, "model": "xs", "seed": seed, "point": point,
                         "images": images, "rate_tflop": rating, "train_tflop": cost,
                         metric: sign * (figure + (2 * seed - 1))}
                    )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.mark.parametrize(("metric", "sign"), [("fd", 1), ("clip", -1)])
def test_the_front_with_ratings_and_without(metric: str, sign: int) -> None:
    found = {(one.selection, one.images): one for one in arena(table(metric, sign), metric)}
    front = {key for key, one in found.items() if one.front}
    assert front == {("full", 500), ("rated", 500), ("full", 1000), ("rated", 1000)}
    assert {key for key, one in found.items() if one.front_without} == {("unknown", 500), ("unknown", 1000)}
    assert found["rated", 1000].figure == pytest.approx(sign * 300)
    # 8 TFLOP of a rating, where 500 images of training take 10.
    assert [found[key].rating_images for key in (("rated", 500), ("full", 1000))] == [400.0, 0.0]
    assert (found["rated", 1000].n, found["rated", 1000].points) == (2, ("equal_images", "best"))


def test_when_a_rating_has_paid() -> None:
    found = {(one.selection, one.images): one for one in arena(table(), "fd")}
    # Everything comes to 325 for 20, and this for 10 and 8 once; no control comes to 300 at any cost.
    assert found["rated", 500].pays_after == 1
    assert found["rated", 1000].pays_after == 0
    # As good as everything at 20, for 10 a target and 30 once: from the third on.
    dear = table()
    at_half = (dear["selection"] == "dear") & (dear["images"] == 500)
    dear.loc[at_half, "fd"] = 320.0
    found = {(one.selection, one.images): one for one in arena(dear, "fd")}
    assert found["dear", 500].pays_after == 3
    # Everything is as good for as much, so that a rating never pays.
    assert found["dear", 1000].pays_after == math.inf
    assert found["random", 500].pays_after == 0


def test_another_model_is_no_control() -> None:
    cheap = table()[lambda t: t["selection"] == "full"].assign(model="xxs", train_tflop=0.1)
    found = {(one.selection, one.images, one.model): one for one in arena(pd.concat([table(), cheap]), "fd")}
    assert found["rated", 500, "xs"].pays_after == 1


def test_the_cheapest_first() -> None:
    totals = [one.total for one in arena(table(), "fd") if not math.isnan(one.total)]
    assert totals == sorted(totals)


def test_a_checkpoint_that_few_seeds_have_is_none() -> None:
    whole = table()
    lone = whole[(whole["selection"] == "rated") & (whole["images"] == 500) & (whole["seed"] == 0)]
    found = arena(pd.concat([whole, lone.assign(images=700, point="best"), lone.assign(point="best")]), "fd")
    assert {one.images for one in found} == {500, 1000}
    assert {one.points for one in found if one.images == 500} == {("curve",)}  # of one seed alone the best
