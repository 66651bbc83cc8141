"""The JSON Schema of params.yaml, made from the settings classes, by which editors complete and explain.

It knows keys, types, ranges and defaults. What must fit together between keys is told by
`alchemist.params.check` alone.
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from alchemist.core.settings import BASE
from alchemist.core.settings.budget import EncodeSettings, TrainSettings
from alchemist.core.settings.device import DEVICES
from alchemist.core.settings.launcher import LAUNCHERS
from alchemist.core.settings.model import classes, families
from alchemist.core.settings.scale import ScaleSettings
from alchemist.core.settings.text import TEXTS
from alchemist.params.inherit import TABLES
from alchemist.params.whole import NAME, Params
from alchemist.pools.read import FORMATS
from alchemist.pruning.samplers import SAMPLERS
from alchemist.raters.table import KINDS

REF = "#/$defs/{model}"
OF_BASE = {
    BASE: {
        "type": "string",
        "description": "another block of the table, over whose values this one's are laid, key by key",
    }
}


def schema() -> dict[str, Any]:
    """The schema as JSON holds it, in an order that depends on the classes alone."""
    models = {name: classes(name).MODEL for name in families()}
    raters = {name: kind.BLOCK for name, kind in KINDS.items()}
    laws = {name: classes(name).LAW for name in families()}
    codecs = {name: classes(name).CODEC for name in families()}
    plain = [field.annotation for field in Params.model_fields.values() if _is_block(field.annotation)]
    named = [get_args(Params.model_fields[key].annotation)[1] for key in ("contrasts", "scales", "studies")]
    kinds = (FORMATS, raters, SAMPLERS, models, laws, codecs, TEXTS)
    blocks = [*plain, *named, *(block for table in kinds for block in table.values())]
    _, made = models_json_schema([(block, "validation") for block in dict.fromkeys(blocks)], ref_template=REF)
    parts = made["$defs"]
    parts[EncodeSettings.__name__]["properties"]["text"] |= {
        "additionalProperties": False,
        "properties": {name: _by_tag("kind", TEXTS) for name in laws},
    }
    of_scale = parts[ScaleSettings.__name__]["properties"]
    of_scale["sample"] |= _by_family(laws)
    of_scale["train_of"] |= {
        "additionalProperties": _ref(TrainSettings),
        "propertyNames": {"pattern": f"^{NAME.pattern}$"},
    }
    tables: dict[str, Mapping[str, type[BaseModel]]] = {
        "pools": FORMATS,
        "raters": raters,
        "selections": SAMPLERS,
        "models": models,
    }
    own: dict[str, Any] = {
        "device": {"type": "string", "pattern": f"^({DEVICES})$"},
        "launcher": {"type": "string", "pattern": f"^{LAUNCHERS}$"},
        "codecs": {"type": "object", **_by_family(codecs)},
    }
    properties = {}
    for key, field in Params.model_fields.items():
        if key in own or field.annotation is str:
            body = own.get(key, {"type": "string"})
        elif _is_block(field.annotation):
            body = _ref(field.annotation)
        else:
            if tag := TABLES[key]:
                one = _or_rests(parts, list(tables[key].values()), _by_tag(tag, tables[key]))
            else:
                block = get_args(field.annotation)[1]
                one = _or_rests(parts, [block], _ref(block))
            body = {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{NAME.pattern}$"},
                "additionalProperties": one,
            }
        properties[key] = {"description": field.description, **body}
    whole = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": "params.yaml",
        "type": "object",
        "additionalProperties": False,
        "required": list(Params.model_fields),
        "properties": properties,
        "$defs": parts,
    }
    return _without_titles(whole, top=True)


def _by_family(blocks: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """A block that may name each family."""
    return {
        "additionalProperties": False,
        "properties": {name: _ref(block) for name, block in blocks.items()},
    }


def _by_tag(tag: str, blocks: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """A block whose value at `tag` says which class it is of: editors then show that class alone."""
    return {
        "type": "object",
        "required": [tag],
        "properties": {tag: {"enum": list(blocks)}},
        "allOf": [
            {"if": {"properties": {tag: {"const": name}}, "required": [tag]}, "then": _ref(block)}
            for name, block in blocks.items()
        ],
    }


def _or_rests(parts: dict[str, Any], blocks: list[Any], whole: dict[str, Any]) -> dict[str, Any]:
    """A block as `whole` has it; or one with a base, which may have any key of its classes and needs none."""
    keys: dict[str, list[Any]] = {}
    for block in blocks:
        for key, field in parts[block.__name__]["properties"].items():
            if field not in keys.setdefault(key, []):
                keys[key].append(field)
    properties = {key: fields[0] if len(fields) == 1 else {"anyOf": fields} for key, fields in keys.items()}
    partial = {"type": "object", "additionalProperties": False, "properties": {**properties, **OF_BASE}}
    return {"if": {"required": [BASE]}, "then": partial, "else": whole}


def _ref(block: Any) -> dict[str, Any]:
    return {"$ref": REF.format(model=block.__name__)}


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _without_titles(tree: Any, top: bool = False) -> Any:
    """A class's title repeats its name, a field's repeats its key."""
    if isinstance(tree, list):
        return [_without_titles(item) for item in tree]
    if not isinstance(tree, dict):
        return tree
    return {k: _without_titles(v) for k, v in tree.items() if top or k != "title" or not isinstance(v, str)}
