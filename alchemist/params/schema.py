"""The JSON Schema of params.yaml, made from the settings classes, by which editors complete and explain.

It knows keys, types, ranges and defaults. What must fit together between keys is told by
`alchemist.params.check` alone.
"""

from collections.abc import Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from alchemist.params.whole import NAME, Params
from alchemist.pools.read import FORMATS
from alchemist.pruning.samplers import SAMPLERS
from alchemist.raters.table import KINDS
from alchemist.settings import BASE
from alchemist.settings.device import DEVICES
from alchemist.settings.model import classes, families
from alchemist.settings.scale import ScaleSettings

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
    plain = [field.annotation for field in Params.model_fields.values() if _is_block(field.annotation)]
    named = [get_args(Params.model_fields[key].annotation)[1] for key in ("contrasts", "scales")]
    tables = (FORMATS, raters, SAMPLERS, models, laws)
    blocks = [*plain, *named, *(block for table in tables for block in table.values())]
    _, made = models_json_schema([(block, "validation") for block in dict.fromkeys(blocks)], ref_template=REF)
    parts = made["$defs"]
    parts[ScaleSettings.__name__]["properties"]["sample"] |= {
        "additionalProperties": False,
        "properties": {name: _ref(law) for name, law in laws.items()},
    }
    tagged = {
        "pools": _by_tag("format", FORMATS),
        "raters": _by_tag("kind", raters),
        "selections": _by_tag("sampler", SAMPLERS),
        "models": _by_tag("family", models),
    }
    own: dict[str, Any] = {"device": {"type": "string", "pattern": f"^({DEVICES})$"}}
    properties = {}
    for key, field in Params.model_fields.items():
        if key in own or field.annotation is str:
            body = own.get(key, {"type": "string"})
        elif _is_block(field.annotation):
            body = _ref(field.annotation)
        else:
            one = tagged.get(key) or _or_rests(parts, get_args(field.annotation)[1])
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


def _by_tag(tag: str, blocks: Mapping[str, type[BaseModel]]) -> dict[str, Any]:
    """A block whose value at `tag` says which class it is of: editors then show that class alone."""
    rests = {"required": [BASE]}
    return {
        "type": "object",
        "anyOf": [{"required": [tag]}, rests],
        "properties": {tag: {"enum": list(blocks)}, **OF_BASE},
        "allOf": [
            {
                "if": {"properties": {tag: {"const": name}}, "required": [tag], "not": rests},
                "then": _ref(block),
            }
            for name, block in blocks.items()
        ],
    }


def _or_rests(parts: dict[str, Any], block: Any) -> dict[str, Any]:
    """A block of one class, of whose keys none is required where it has a base."""
    keys = parts[block.__name__]["properties"]
    partial = {"type": "object", "additionalProperties": False, "properties": {**keys, **OF_BASE}}
    return {"if": {"required": [BASE]}, "then": partial, "else": _ref(block)}


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
