"""What a named block takes over from another of its table: `base: NAME`.

YAML's own way, anchors and merge keys, is closed, since `dvc exp run -S` loses what it sets in blocks that
share one.
"""

import copy
from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.core.settings import BASE, legal
from alchemist.core.shown import shown

# The tables of named blocks, with the key that says of what class a block is, where there are many.
TABLES = {
    "pools": "format",
    "raters": "kind",
    "selections": "sampler",
    "models": "family",
    "contrasts": None,
    "scales": None,
    "studies": None,
}


def inherited(params: Any) -> Any:
    """What params.yaml holds, with every block whole: what it says itself over what its base says.

    Blocks inside are joined key by key; a list, a number, a null take the place of the base's. A base may
    have one too; it stands before what rests on it, so that a mistake in it is told as its own. Raises
    Refusal where a base is no block of the table, rests on the block itself, or is of another class.
    """
    if not isinstance(params, dict):
        return params
    out = dict(params)
    for key in TABLES:
        if isinstance(params.get(key), dict):
            out[key] = {}
            for name in params[key]:
                _add(out[key], key, params[key], name, ())
    return out


def _add(out: dict[Any, Any], key: str, table: dict[Any, Any], name: Any, above: tuple[Any, ...]) -> None:
    """Puts block `name` of a table, which the blocks `above` rest on, whole into `out`, its base first."""
    block, resting = table[name], (*above, name)
    if name in out:
        return
    if not isinstance(block, dict) or BASE not in block:
        out[name] = block
        return
    base, where = block[BASE], f"{key}.{name}.{BASE}"
    others = [other for other in table if other not in resting]
    if (isinstance(base, str) and base in resting) or not others:
        raise Refusal(
            f"{where} is {shown(base)}; it should be a block of {key} that does not rest on {name}."
        )
    if base not in others:
        raise Refusal(legal.wrong_value(where, base, others))
    _add(out, key, table, base, resting)
    own, below, tag = {k: v for k, v in block.items() if k != BASE}, out[base], TABLES[key]
    if tag in own and isinstance(below, dict) and own[tag] != below.get(tag):
        raise Refusal(
            f"{key}.{name}.{tag} is {shown(own[tag])}; its base {base} has "
            f"{shown(below.get(tag))}, and it should be left out or the same."
        )
    out[name] = copy.deepcopy(_over(own, below))  # no part of it is its base's own


def _over(own: Any, base: Any) -> Any:
    if not isinstance(own, dict) or not isinstance(base, dict):
        return own
    return base | {key: _over(value, base[key]) if key in base else value for key, value in own.items()}
