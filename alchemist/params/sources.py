"""What the other stages read of params.yaml: every block whole, and of each pool those that are its splits.

Stage prepare then depends on the blocks that its pool names, and on no others.
"""

from typing import Any

from alchemist.params.inherit import inherited

SPLITS = ("meta_validation", "evaluation", "scorer")


def passed_on(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml as stage check passes it on, with `sources`: blocks of `pools:` by pool and name."""
    whole = inherited(params)
    return {**whole, "sources": sources(whole["pools"])}


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
    """Of every block of `pools:` the blocks that its splits name; {} for most."""
    return {
        name: {other: pools[other] for other in named(block).values() if other in pools}
        for name, block in pools.items()
    }
