"""What the other stages read of params.yaml: every block whole, and what DVC cannot look up in them.

Stage prepare then depends on its pool's block and those that it names, a cell on the budget of its model,
a rating on the models of its family, and none of them on any other.
"""

from collections.abc import Iterable
from typing import Any

from alchemist.params.inherit import inherited

SPLITS = ("meta_validation", "evaluation", "scorer", "pretraining", "clean")


def passed_on(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml as stage check passes it on, once it is sound.

    With `sources`, what reading each pool takes, by pool and block; `budgets`, each model's at the scale in
    force; and `rating`, the models that play proxy and rater, by family. Every scale has `pretrain`, null or
    not, which stage pretrain tracks by name whether or not there is anything to train.
    """
    whole = inherited(params)
    scale, models = whole["scales"][whole["scale"]], whole["models"]
    return {
        **whole,
        "scales": {name: {"pretrain": None, **block} for name, block in whole["scales"].items()},
        "sources": sources(whole["pools"]),
        "budgets": budgets(scale, models),
        "rating": rating(whole["roles"], whole["grid"]["others"], models),
    }


def budgets(scale: dict[str, Any], models: Iterable[str]) -> dict[str, dict[str, Any]]:
    """`train` of a scale for every model, with what its `train_of` says otherwise."""
    own = scale.get("train_of", {})
    return {model: {**scale["train"], **own.get(model, {})} for model in models}


def rating(roles: dict[str, str], others: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    """The blocks of `proxy` and `rater`, of the roles' family and of each that the grid has beside it."""
    played = {models[roles["proxy"]]["family"]: roles, **others}
    return {
        family: {part: models[names[part]] for part in ("proxy", "rater")} for family, names in played.items()
    }


def named(block: Any) -> dict[str, str]:
    """The pools that a block's splits name, by the key of the split; of what is malformed nothing."""
    splits = block.get("splits") if isinstance(block, dict) else None
    found = {}
    for key in SPLITS:
        value = splits.get(key) if isinstance(splits, dict) else None
        if isinstance(value, dict) and isinstance(value.get("pool"), str):
            found[key] = value["pool"]
    return found


def sources(pools: dict[Any, Any]) -> dict[Any, dict[str, Any]]:
    """Of every block of `pools:` what reading it takes: itself and the blocks that its splits name.

    Without `copies`, which is in force once all is read: another threshold reads no image anew.
    """
    read = {
        name: {key: value for key, value in block.items() if key != "copies"}
        for name, block in pools.items()
        if isinstance(block, dict)
    }
    return {
        name: {other: read[other] for other in (name, *named(pools[name]).values()) if other in read}
        for name in pools
    }
