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
    params["pools"]["large"] = {"base": "mjhq30k", "resolution": 512}
    params["pools"]["mine"]["splits"] = {"evaluation": {"pool": "large"}, "scorer": {"pool": "mjhq30k"}}
    check(params)
    found = passed_on(params)
    assert found["sources"]["mine"] == {
        "large": {**params["pools"]["mjhq30k"], "resolution": 512}, "mjhq30k": params["pools"]["mjhq30k"],
    }  # fmt: skip
    assert found["sources"]["emoji"] == {}
    assert set(found["sources"]) == set(params["pools"])
    assert {key: value for key, value in found.items() if key != "sources"}.keys() == PARAMS.keys()


def test_a_split_that_a_base_names_counts() -> None:
    params = copy.deepcopy(PARAMS)
    params["pools"]["other"] = {"base": "laion30m", "path": "elsewhere"}
    assert list(passed_on(params)["sources"]["other"]) == ["mjhq30k"]
