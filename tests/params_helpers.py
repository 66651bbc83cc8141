"""The repo's params.yaml with a grid of its own, and edits of it."""

import copy
from pathlib import Path
from typing import Any

from stages.params_file import read_params

REPOS: dict[str, Any] = read_params(Path(__file__).parents[1] / "params.yaml")
# The repo's blocks with a grid of this file's own, to which the mistakes below are made.
DEFAULT: dict[str, Any] = REPOS | {
    "pool": "emoji", "scale": "tiny", "roles": {"proxy": "s", "rater": "xs"}, "device": "auto",
    "launcher": "python",
    "grid": {
        "selections": ["oracle", "random", "topk", "alchemist", "loss"],
        "raters": ["alchemist", "loss", "random"], "embeddings": [], "heuristics": [], "oracles": ["oracle"],
        "ratios": [0.5, 0.2], "models": ["xs"], "seeds": [0],
        "ablation": {"selections": [], "ratios": []},
        "transfer": {"selections": [], "ratios": [], "models": []}, "families": ["star"], "others": {},
    },
    "statistics": {"primary": None, "secondary": [], "confidence": 0.95},
}  # fmt: skip


def edited(key: str, value: Any) -> dict[str, Any]:
    params = copy.deepcopy(DEFAULT)
    *path, last = key.split(".")
    place = params
    for part in path:
        place = place.setdefault(part, {})
    if value is KeyError:
        del place[last]
    else:
        place[last] = value
    return params


def put(params: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The params with `changes`, dotted keys with __ for dots; KeyError takes a key away."""
    for key, value in changes.items():
        *path, last = key.split("__")
        place = params
        for part in path:
            place = place[part]
        if value is KeyError:
            del place[last]
        else:
            place[last] = value
    return params


def asking(**changes: Any) -> dict[str, Any]:
    """The default with two seeds and a primary contrast; `changes` are dotted keys with __ for dots."""
    params = edited("grid.seeds", [0, 1])
    params["statistics"] = {"primary": "alchemist_loss", "secondary": ["alchemist_full"], "confidence": 0.95}
    return put(params, changes)
