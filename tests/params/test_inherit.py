"""`base: NAME`: what a block takes over, what it keeps of its own, and how a wrong base is told."""

import copy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides

from alchemist.core.refusal import Refusal
from alchemist.params.check import check
from alchemist.params.inherit import TABLES, inherited
from alchemist.params.whole import Params
from stages.params_file import read_params

PARAMS: dict[str, Any] = read_params(Path(__file__).parents[2] / "params.yaml")


def with_block(key: str, block: Any) -> dict[str, Any]:
    params = copy.deepcopy(PARAMS)
    table, name = key.split(".")
    params[table][name] = block
    return params


def test_every_table_of_named_blocks_has_bases() -> None:
    tables = [key for key, field in Params.model_fields.items() if str(field.annotation).startswith("dict[")]
    assert sorted(set(tables) - {"codecs"}) == sorted(TABLES)  # which a family names, not a person


def test_what_a_block_says_lies_over_its_base_key_by_key_whatever_their_order() -> None:
    # Above their base, and a base that has one itself.
    rows = {
        "c": {"base": "b", "train": {"rates": [9]}, "new": {"x": 1}},
        "b": {"base": "a", "train": {"images": 2}, "rate": None},
        "a": {"train": {"images": 1, "rates": [1, 2], "batch": 4}, "rate": {"images": 3}},
    }
    given = {"scales": rows, "scale": "c"}
    before = copy.deepcopy(given)
    found = inherited(given)
    assert found == {
        "scale": "c",
        "scales": {
            "a": rows["a"],
            "b": {"train": {"images": 2, "rates": [1, 2], "batch": 4}, "rate": None},
            "c": {"train": {"images": 2, "rates": [9], "batch": 4}, "rate": None, "new": {"x": 1}},
        },
    }
    assert given == before
    assert inherited(found) == found
    found["scales"]["b"]["train"]["batch"] = found["scales"]["c"]["train"]["rates"] = 8
    assert (found["scales"]["a"]["train"]["batch"], found["scales"]["c"]["train"]["batch"]) == (4, 4)
    assert found["scales"]["b"]["train"]["rates"] == [1, 2]


def test_a_scale_of_ones_own_follows_its_base_but_where_it_differs(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text = (Path(__file__).parents[2] / "params.yaml").read_text()
    own = "scales:\n  own: {base: small, train: {images: 6400}}\n"
    path.write_text(text.replace("scales:\n", own, 1))
    # As dvc exp run -S sets them.
    apply_overrides(path, ["scale=own", "scales.tiny.evaluate.images=900", "scales.small.train.batch=64"])
    scales = check(read_params(path)).scales
    assert scales["own"].evaluate.images == scales["small"].evaluate.images == 900
    assert (scales["own"].train.batch, scales["own"].train.images) == (64, 6400)
    assert scales["small"].train.images == PARAMS["scales"]["small"]["train"]["images"]
    assert scales["own"].sample == scales["small"].sample


def test_a_tag_comes_from_the_base_and_so_do_its_rules() -> None:
    found = check(with_block("raters.own", {"base": "alchemist", "group": "none"})).raters["own"]
    assert found == check(PARAMS).raters["alchemist"].model_copy(update={"group": "none"})
    with pytest.raises(Refusal, match=r"raters\.own\.groop is not a known key, nearest to group"):
        check(with_block("raters.own", {"base": "alchemist", "groop": "none"}))


LEGAL = f"; legal values are {', '.join(PARAMS['scales'])}."
CIRCLE = "; it should be a block of scales that does not rest on"


@pytest.mark.parametrize(
    ("key", "block", "told"),
    [
        ("scales.own", {"base": "smal"}, f"scales.own.base is 'smal', nearest to small{LEGAL}"),
        ("scales.own", {"base": None}, f"scales.own.base is null{LEGAL}"),
        ("scales.own", {"base": ["tiny"]}, f"scales.own.base is ['tiny']{LEGAL}"),
        ("scales.own", {"base": "own"}, f"scales.own.base is 'own'{CIRCLE} own."),
        ("scales.tiny", {"base": "small"}, f"scales.small.base is 'tiny'{CIRCLE} small."),
        ("raters.own", {"base": "small"}, "raters.own.base is 'small'"),  # of another table
        ("scales.own", {"bsae": "tiny"}, "scales.own.bsae is not a known key, nearest to base; legal"),
        ("scales.tiny", None, "scales.tiny is null; it should be a block "),
        (
            "raters.own",
            {"base": "alchemist", "kind": "el2n"},
            "raters.own.kind is 'el2n'; its base alchemist has 'meta', and it should be left out or",
        ),
    ],
)  # fmt: skip
def test_a_wrong_base_is_one_sentence(key: str, block: Any, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        check(with_block(key, block))
    assert str(refused.value).startswith(told)


def test_a_mistake_in_a_base_is_told_as_the_bases_own() -> None:
    params = copy.deepcopy(PARAMS)
    wrong = {"base": "tiny", "train": {"images": -1}}
    params["scales"] = {"heir": {"base": "wrong"}, "wrong": wrong, **params["scales"]}
    with pytest.raises(Refusal, match=r"^scales\.wrong\.train\.images is -1; "):
        check(params)


def test_the_only_block_of_a_table_has_no_base_to_rest_on() -> None:
    with pytest.raises(Refusal, match=r"^raters\.own\.base is 'other'; it should be a block of raters that "):
        inherited({"raters": {"own": {"base": "other"}}})


def test_a_section_has_no_base() -> None:
    params = copy.deepcopy(PARAMS)
    params["scales"]["tiny"]["train"]["base"] = "tiny"
    with pytest.raises(Refusal, match=r"scales\.tiny\.train\.base is not a known key"):
        check(params)
