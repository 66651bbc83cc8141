"""The point of equal cost: the last checkpoint that rating and training come to for what everything takes."""

import math

import pandas as pd
import pytest
from study_helpers import BLOCK, study

from alchemist.analysis.equal_cost import with_equal_cost
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


def test_a_claim_is_decided_there() -> None:
    claims = {
        "A": {"says": "It pays.", "arm": "tenth", "against": "free"},
        "B": {"says": "It pays too.", "arm": "dear", "against": "full", "point": "equal_images"},
    }
    block = study(claims=claims, point="equal_cost", pools={"here": {}})
    found = judged(
        block, {"here": with_equal_cost(table({"tenth": 60.0}))}, block.seeds.all(), {"here": "once"}
    )
    told = {(one.claim, one.asked.point): one for one in found if one.main}
    # 500 images beside 1,000 are 50 behind, of 60 ahead.
    assert told["A", "equal_cost"].decides
    assert told["A", "equal_cost"].outcome.interval.mean == pytest.approx(-10)
    assert told["A", "equal_images"].outcome.interval.mean == pytest.approx(-60)
    # What costs more than everything stands at no equal cost, and where a claim asks that it is refused.
    assert ("B", "equal_cost") not in told
    claims["B"].pop("point")
    block = study(claims=claims, point="equal_cost", pools={"here": {}})
    with pytest.raises(Refusal, match=r"has no cell of dear at ratio 0\.5 for model xs at equal_cost"):
        judged(block, {"here": with_equal_cost(table())}, block.seeds.all(), {"here": "once"})


def test_a_study_says_whether_it_asks_at_a_point() -> None:
    assert not study().is_at("equal_cost")
    own = BLOCK["claims"]["B"] | {"point": "equal_cost"}
    assert study(claims=BLOCK["claims"] | {"B": own}).is_at("equal_cost")
