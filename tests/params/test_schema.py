"""params.schema.json: made from the classes, current, and of one mind with the stage check."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match

from alchemist.core.refusal import Refusal
from alchemist.core.settings.model import families
from alchemist.params.check import check
from alchemist.params.schema import schema
from alchemist.pools.read import FORMATS
from alchemist.pruning.samplers import SAMPLERS
from alchemist.raters.table import KINDS
from stages.params_file import read_params

REPO = Path(__file__).parents[2]
PARAMS: dict[str, Any] = read_params(REPO / "params.yaml")
COMMITTED: dict[str, Any] = json.loads((REPO / "params.schema.json").read_text())


def mistake(params: dict[str, Any]) -> ValidationError | None:
    found: ValidationError | None = best_match(Draft202012Validator(COMMITTED).iter_errors(params))
    return found


def test_the_committed_schema_is_the_classes() -> None:
    Draft202012Validator.check_schema(COMMITTED)
    assert schema() == COMMITTED, "run python -m stages.schema"


def test_params_yaml_names_the_schema_and_keeps_it() -> None:
    first = (REPO / "params.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=params.schema.json"
    assert mistake(PARAMS) is None


@pytest.mark.parametrize(
    ("key", "value", "place"),
    [
        ("scales.tiny.train.bath", 3, ["scales", "tiny", "train"]),
        ("scales.tiny.train.batch", 0, ["scales", "tiny", "train", "batch"]),
        ("scales.tiny.train.batch", "16", ["scales", "tiny", "train", "batch"]),
        ("scales.tiny.sample.star.top_p", 1.5, ["scales", "tiny", "sample", "star", "top_p"]),
        ("scales.tiny.sample.stra", {}, ["scales", "tiny", "sample"]),
        ("grid.ratios", 0.5, ["grid", "ratios"]),
        ("grid.ratios", [], ["grid", "ratios"]),
        ("grid.ratios", [1.0], ["grid", "ratios", 0]),
        ("raters.loss.kind", "lost", ["raters", "loss", "kind"]),
        ("raters.loss.epochs", 3, ["raters", "loss"]),  # a key of another kind
        ("raters.alchemist.group", "mlp", ["raters", "alchemist", "group"]),
        ("pools.emoji.path", "here", ["pools", "emoji"]),
        ("models.s.family", "stra", ["models", "s", "family"]),
        ("models.s.depth", None, ["models", "s", "depth"]),
        ("device", "gpu", ["device"]),
        ("selections.full", {"rater": "loss", "sampler": "topk"}, ["selections"]),
        ("extra", 1, []),
        ("scales.small.base", 1, ["scales", "small", "base"]),
        ("scales.small.trian", {}, ["scales", "small"]),
        ("scales.small.train.bath", 3, ["scales", "small", "train"]),
        ("raters.alchemist_carried.base", None, ["raters", "alchemist_carried", "base"]),
        ("raters.alchemist_carried.kind", "mata", ["raters", "alchemist_carried", "kind"]),
        ("raters.loss", {"direction": 1}, ["raters", "loss"]),  # neither kind nor base
        ("raters.alchemist_carried.grop", "none", ["raters", "alchemist_carried"]),
        ("models.xs", {"base": "s", "depth": "three"}, ["models", "xs", "depth"]),
        ("pools.emoji_crowded.pairs", -1, ["pools", "emoji_crowded", "pairs"]),
        ("selections.topk", {"base": "random", "dorp": 1}, ["selections", "topk"]),
    ],
)
def test_a_wrong_key_type_or_range_is_refused_by_the_schema_and_the_check(
    key: str, value: Any, place: list[str | int]
) -> None:
    params = copy.deepcopy(PARAMS)
    *path, last = key.split(".")
    block = params
    for part in path:
        block = block[part]
    block[last] = value
    found = mistake(params)
    assert found is not None
    assert list(found.absolute_path) == place
    with pytest.raises(Refusal):
        check(params)


def fields() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, block in COMMITTED["$defs"].items():
        for key, field in block["properties"].items():
            yield f"{name}.{key}", field


def test_every_key_says_what_it_is_and_every_number_its_least() -> None:
    # A tag with one legal value, as a sampler's name, says it all.
    told = [(key, field) for key, field in fields() if "const" not in field]
    silent = [key for key, field in told if len(field.get("description", "")) < 3]
    assert silent == []
    for key, field in fields():
        for kind in field.get("anyOf", [field]):
            if kind.get("type") in ("integer", "number") and "enum" not in kind:
                assert kind.keys() & {"minimum", "exclusiveMinimum"}, f"{key} has no lower bound"


@pytest.mark.parametrize(
    ("key", "tag", "names"),
    [
        ("raters", "kind", KINDS),
        ("pools", "format", FORMATS),
        ("models", "family", families()),
        ("selections", "sampler", SAMPLERS),
    ],
)
def test_a_block_of_many_kinds_is_told_by_its_tag(key: str, tag: str, names: Any) -> None:
    block = COMMITTED["properties"][key]["additionalProperties"]["else"]
    assert block["properties"][tag]["enum"] == list(names)
    assert [case["if"]["properties"][tag]["const"] for case in block["allOf"]] == list(names)


def test_the_defaults_that_the_schema_shows_are_the_values_in_force() -> None:
    shown = COMMITTED["$defs"]["TrainSettings"]["properties"]
    train = check(PARAMS).scales["tiny"].train.model_dump(mode="json")
    assert {key: field["default"] for key, field in shown.items()} == train
