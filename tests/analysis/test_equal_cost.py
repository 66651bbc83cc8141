"""The point of equal cost: the last checkpoint that rating and training come to for what everything takes."""

import math

import pandas as pd
import pytest
from study_helpers import BLOCK, study

from alchemist.analysis.equal_cost import reached, with_equal_cost
from alchemist.analysis.registered import judged
from alchemist.core.refusal import Refusal

# TFLOP, where training takes 10.
RATINGS = {"full": 0.0, "free": 0.0, "tenth": 1.0, "half": 5.0, "dear": 10.5, "unknown": math.nan}
SHARES = {0.2: "curve", 0.5: "equal_epochs", 0.9: "curve", 1.0: "equal_images"}


def table(gains: dict[str, float] | None = None) -> pd.DataFrame:
    """FD falls by 100 a whole training, so that a figure tells the checkpoint that it is of."""
    rows = []
    for arm, rating in RATINGS.items():
        for seed in range(100, 108):
            for reference in ("once", "as_is"):
                for share, point in SHARES.items():
                    cost = {"rate_tflop": rating * (1 + seed / 1e4), "train_tflop": 10 * share}
                    fd = 300 - 100 * share - (gains or {}).get(arm, 0.0) + (seed % 3) * (arm == "full") / 10
                    row = {
                        "selection": arm,
                        "ratio": 1.0 if arm == "full" else 0.5,
                        "model": "xs",
                        "seed": seed,
                    }
                    row |= {"reference": reference, "point": point, "images": round(1000 * share), "fd": fd}
                    rows.append(row | cost)
    return pd.DataFrame(rows)


def test_the_last_checkpoint_that_is_paid_for() -> None:
    found = with_equal_cost(table().sample(frac=1, random_state=0))
    here = found[found["point"] == "equal_cost"]
    at = {arm: set(part["images"]) for arm, part in here.groupby("selection")}
    # A tenth and the share that the seed adds is more than a tenth: .9 are no longer paid for.
    assert at == {"full": {1000}, "free": {1000}, "tenth": {500}, "half": {200}}
    assert len(here) == 4 * 8 * 2  # one a seed and reference
    assert len(found) == len(table()) + len(here)  # the others stay as they were


def test_a_cost_that_is_met_to_the_last_operation_is_paid_for() -> None:
    exact = table().assign(rate_tflop=lambda rows: rows["selection"].map(RATINGS))
    exact.loc[exact["selection"] == "tenth", "rate_tflop"] = 10.0 - 9.0 + 1e-12
    found = with_equal_cost(exact)
    here = found[(found["point"] == "equal_cost") & (found["selection"] == "tenth")]
    assert set(here["images"]) == {900}


def test_what_everything_takes_is_of_the_same_seed() -> None:
    given = table()
    given.loc[(given["selection"] == "full") & (given["seed"] == 103), "train_tflop"] *= 2
    found = with_equal_cost(given)
    here = found[(found["point"] == "equal_cost") & (found["selection"] == "half")]
    assert {seed: set(part["images"]) for seed, part in here.groupby("seed")} == {
        seed: {1000} if seed == 103 else {200} for seed in range(100, 108)
    }


def test_each_model_has_its_own_budget() -> None:
    small = table()
    large = small.assign(
        model="s", train_tflop=5 * small["train_tflop"]
    )  # a rating of 5 is a tenth of its 50
    found = with_equal_cost(pd.concat([small, large]))
    here = found[(found["point"] == "equal_cost") & (found["selection"] == "half")]
    assert {model: set(part["images"]) for model, part in here.groupby("model")} == {"xs": {200}, "s": {500}}


def test_how_far_the_seeds_of_an_arm_came() -> None:
    given = table().assign(rate_tflop=lambda rows: rows["selection"].map(RATINGS))
    given.loc[(given["selection"] == "tenth") & (given["seed"] > 102), "rate_tflop"] = 1.5
    found = {(one.selection, one.images): one for one in reached(with_equal_cost(given))}
    assert {key: one.seeds for key, one in found.items()} == {
        ("full", 1000): 8, ("free", 1000): 8, ("tenth", 900): 3, ("tenth", 500): 5, ("half", 500): 8,
    }  # fmt: skip
    assert (found["tenth", 500].rating, found["tenth", 500].training) == (1.5, 5)


CLAIMS = {
    "A": {"says": "It pays.", "arm": "tenth", "against": "free"},
    "B": {"says": "Beside everything too.", "arm": "tenth", "against": "full"},
    "C": {"says": "This pays too.", "arm": "dear", "against": "full", "point": "equal_images"},
}


def test_a_claim_is_decided_there() -> None:
    block = study(claims=CLAIMS, point="equal_cost", pools={"here": {}})
    ahead = {"here": with_equal_cost(table({"tenth": 60.0}))}
    found = judged(block, ahead, block.seeds.all(), {"here": "once"})
    told = {(one.claim, one.asked.point): one for one in found if one.main}
    # 500 images beside 1,000 are 50 behind, of 60 ahead.
    assert told["A", "equal_cost"].decides
    assert told["B", "equal_cost"].decides
    assert told["A", "equal_cost"].outcome.interval.mean == pytest.approx(-10)
    assert told["A", "equal_images"].outcome.interval.mean == pytest.approx(-60)
    assert told["C", "equal_images"].decides
    assert ("C", "equal_cost") not in told  # what costs more than everything stands at no equal cost


@pytest.mark.parametrize("seeds", [range(100, 108), range(102, 108)])
def test_an_arm_that_is_too_dear_in_some_seeds(seeds: range) -> None:
    given = table()
    dear = (given["selection"] == "tenth") & given["seed"].isin(seeds)
    given.loc[dear, "rate_tflop"] = 9.0
    claims = {
        "A": CLAIMS["C"] | {"point": "equal_cost", "arm": "free"},
        "C": CLAIMS["A"] | {"point": "equal_images"},
    }
    block = study(claims=claims, point="equal_cost", pools={"here": {}})
    found = judged(block, {"here": with_equal_cost(given)}, block.seeds.all(), {"here": "once"})
    assert {(one.claim, one.asked.point) for one in found if one.decides} == {
        ("A", "equal_cost"), ("C", "equal_images"),
    }  # fmt: skip
    assert ("C", "equal_cost") not in {(one.claim, one.asked.point) for one in found}
    # Where a claim asks it, that is refused.
    block = study(claims={"A": CLAIMS["A"]}, point="equal_cost", pools={"here": {}})
    with pytest.raises(Refusal, match=r"tenth .*at ratio 0\.5 for model xs at equal_cost"):
        judged(block, {"here": with_equal_cost(given)}, block.seeds.all(), {"here": "once"})


def test_a_study_says_whether_it_asks_at_a_point() -> None:
    assert not study().is_at("equal_cost")
    own = BLOCK["claims"]["B"] | {"point": "equal_cost"}
    assert study(claims=BLOCK["claims"] | {"B": own}).is_at("equal_cost")
