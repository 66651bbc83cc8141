"""What a named block takes over from another of its table: `base: NAME`.

YAML's own way, anchors and merge keys, is closed, since `dvc exp run -S` loses what it sets in blocks that
share one.
"""

from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.settings import BASE, legal

TABLES = ("pools", "raters", "selections", "models", "contrasts", "scales")


def inherited(params: Any) -> Any:
    """What params.yaml holds, with every block whole: what it says itself over what its base says.

    Blocks inside are joined key by key; a list, a number, a null take the place of the base's. A base may
    have one too. Raises Refusal where a base is no block of the table, or rests on the block itself.
    """
    if not isinstance(params, dict):
        return params
    tables = {key: params[key] for key in TABLES if isinstance(params.get(key), dict)}
    return params | {
        key: {name: _whole(key, table, name, ()) for name in table} for key, table in tables.items()
    }


def _whole(key: str, table: dict[Any, Any], name: Any, above: tuple[Any, ...]) -> Any:
    """Block `name` of a table, of which the blocks `above` are made."""
    block, resting = table[name], (*above, name)
    if not isinstance(block, dict) or BASE not in block:
        return block
    base, where = block[BASE], f"{key}.{name}.{BASE}"
    others = [other for other in table if other not in resting]
    if base not in others:
        if base in resting:
            raise Refusal(f"{where} is {base!r}; it should be a block that does not rest on {name} itself.")
        raise Refusal(legal.wrong_value(where, base, others))
    return _over({k: v for k, v in block.items() if k != BASE}, _whole(key, table, base, resting))


def _over(own: Any, base: Any) -> Any:
    if not isinstance(own, dict) or not isinstance(base, dict):
        return own
    return base | {key: _over(value, base[key]) if key in base else value for key, value in own.items()}
