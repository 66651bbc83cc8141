"""What check passes on: whole blocks, and of each pool the blocks that are its splits."""

import copy
from pathlib import Path
from typing import Any

from alchemist.params.check import check
from alchemist.params.sources import passed_on
from stages.params_file import read_params

PARAMS: dict[str, Any] = read_params(Path(__file__).parents[2] / "params.yaml")


def test_each_pool_has_the_blocks_that_its_splits_name_and_no_others() -> None:
    params = copy.deepcopy(PARAMS)
    params["pools"]["large"] = {"base": "mjhq30k", "resolution": 512, "path": "elsewhere"}
    params["pools"]["mine"]["splits"] = {"evaluation": {"pool": "large"}, "scorer": {"pool": "mjhq30k"}}
    check(params)
    found = passed_on(params)
    assert found["sources"]["mine"] == {
        "large": {**params["pools"]["mjhq30k"], "resolution": 512, "path": "elsewhere"},
        "mjhq30k": params["pools"]["mjhq30k"], "mine": params["pools"]["mine"],
    }  # fmt: skip
    assert found["sources"]["emoji"] == {"emoji": params["pools"]["emoji"]}
    assert set(found["sources"]) == set(params["pools"])
    assert found.keys() - {"sources", "budgets", "rating"} == PARAMS.keys()


def test_what_is_in_force_once_all_is_read_makes_no_pool_be_read_anew() -> None:
    params = copy.deepcopy(PARAMS)
    before = copy.deepcopy(passed_on(params))
    params["pools"]["mine"]["copies"] = {"threshold": 0.9}
    assert passed_on(params)["sources"] == before["sources"]


def test_a_split_that_a_base_names_counts() -> None:
    params = copy.deepcopy(PARAMS)
    params["pools"]["other"] = {"base": "laion30m", "path": "elsewhere"}
    assert list(passed_on(params)["sources"]["other"]) == ["other", "mjhq30k"]


def test_a_model_spends_what_the_scale_says_of_it_and_all_others_what_it_says_of_all() -> None:
    params = copy.deepcopy(PARAMS)
    before = passed_on(params)["budgets"]
    assert set(before) == set(params["models"])
    assert all(budget == params["scales"]["tiny"]["train"] for budget in before.values())
    params["scales"]["small"]["train_of"] = {"m": {"batch": 64}}  # which is not in force
    assert passed_on(params)["budgets"] == before
    params["scales"]["tiny"]["train_of"] = {"s": {"images": 320, "learning_rate": 0.01}}
    after = passed_on(params)["budgets"]
    assert after.pop("s") == {"images": 320, "batch": 16, "learning_rate": 0.01}
    assert after == {name: budget for name, budget in before.items() if name != "s"}
    of = check(params).scales["tiny"]
    assert (of.budget("s").images, of.budget("s").clip) == (320, of.train.clip)
    assert of.budget("m") == of.train


def test_a_family_rates_by_its_own_proxy_and_trunk_and_by_no_other_model() -> None:
    params = copy.deepcopy(PARAMS)
    params["grid"]["others"]["flux"] |= {"proxy": "flux_proxy", "rater": "flux_xs"}
    params["models"]["m"]["depth"] = 7
    models, found = PARAMS["models"], passed_on(params)["rating"]
    assert found["star"] == {"proxy": models["s"], "rater": models["xs"]}
    assert found["flux"] == {"proxy": {**models["flux_s"], "sigma_block": 64}, "rater": models["flux_xs"]}
    assert found.keys() == {"star", "flux"}


def test_every_scale_says_how_it_pretrains_or_that_it_does_not() -> None:
    found = passed_on(copy.deepcopy(PARAMS))["scales"]
    tiny = PARAMS["scales"]["tiny"]["pretrain"]
    own = dict.fromkeys(("paper", "paper_hpdv3", "paper_flux_reason")) | {"quick": tiny | {"images": 320}}
    assert {name: part["pretrain"] for name, part in found.items()} == {
        name: own.get(name, tiny) for name in PARAMS["scales"]
    }


def test_a_scale_takes_over_what_its_base_says_of_a_model() -> None:
    params = copy.deepcopy(PARAMS) | {"scale": "own"}
    params["scales"]["own"] = {"base": "paper", "train_of": {"flux_mini_lora": {"batch": 8}}}
    budgets = passed_on(params)["budgets"]
    assert (budgets["flux_mini_lora"]["batch"], budgets["flux_mini_lora"]["images"]) == (8, 30_000_000)
    assert budgets["star_900m"]["batch"] == 256
    assert budgets["star_300m"]["batch"] == 512
