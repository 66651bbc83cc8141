"""Whether what params.yaml names on this machine is there, as far as the grid in force needs it.

A repository of a hub is not asked for; `python -m stages.plan` tells which of them are not here yet.
"""

import os
import shutil
from pathlib import Path

from alchemist.core import files, hub
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.launcher import PYTHON
from alchemist.core.settings.pool import UserPool
from alchemist.core.settings.text import TextSettings, of_family
from alchemist.core.shown import shown
from alchemist.params.families import models_named
from alchemist.params.whole import Params
from alchemist.raters.kinds.meta import CARD, TRAINING, MetaRater


def check_here(params: Params, assets: Path, was_read: bool) -> None:
    """Raises Refusal for the first path that does not exist, or codec that does not fit the pool.

    `assets` holds what the repo has. The files of a pool that `was_read` may be gone.
    """
    first = params.launcher.split()[0]
    if first != PYTHON and shutil.which(first) is None:
        raise Refusal(
            f"launcher is {shown(params.launcher)}, and there is no command {first} here; {PYTHON} is legal."
        )
    if not was_read:
        _pools(params)
    resolution = params.pools[params.pool].resolution
    for family in params.grid.families:
        params.codecs[family].check(f"codecs.{family}", resolution, assets / "codecs")
    for key, weights in _weights(params).items():
        if not _exists(weights) and not hub.is_name(weights):
            raise Refusal(
                f"{key} is {shown(weights)}, which does not exist; a path, or OWNER/NAME of the hub is legal."
            )
    _carried(params, assets / "raters")


def _exists(path: str | Path) -> bool:
    return os.path.exists(os.path.expanduser(path))  # False too where a name is too long


def _pools(params: Params) -> None:
    """The pool in force and those that are splits of it."""
    pool = params.pools[params.pool]
    others = pool.splits.others().values() if isinstance(pool, UserPool) else ()
    for name in dict.fromkeys([params.pool, *others]):
        block = params.pools[name]
        if not isinstance(block, UserPool) or _exists(block.path) or block.on_hub():
            continue
        raise Refusal(
            f"pools.{name}.path is {shown(block.path)}, which does not exist; it should be the folder or the "
            "file of its pairs."
        )


def _weights(params: Params) -> dict[str, str]:
    """Published weights that the grid in force takes, by their keys."""
    scale, where = params.scales[params.scale], f"scales.{params.scale}"
    found: dict[str, str | None] = {}
    for family in params.grid.families:
        found[f"codecs.{family}.weights"] = params.codecs[family].named_weights()
        text = of_family(scale.encode.text, family)
        found[f"{where}.encode.text.{family}.weights"] = _of_text(text)
    for _, name, _ in models_named(params):
        found[f"models.{name}.weights"] = params.models[name].named_weights()
    asked = {name.removesuffix("_clean") for name in scale.evaluate.networks} - {"lite0"}
    for name in sorted(asked | ({"clip"} if scale.evaluate.clip != LIT else set())):
        found[f"{where}.evaluate.weights.{name}"] = getattr(scale.evaluate.weights, name)
    return {key: weights for key, weights in found.items() if weights is not None}


def _of_text(text: TextSettings) -> str | None:
    return next((weights for weights, _ in text.needs()), None)


def _carried(params: Params, folder: Path) -> None:
    """Raters that were trained elsewhere have weights for every seed, trained as their blocks say.

    Else a value of training beside `weights` would be silently without effect.
    """
    for name in params.grid.rated():
        rater = params.raters[name]
        if not isinstance(rater, MetaRater) or rater.weights is None:
            continue
        for seed in params.grid.seeds:
            if not _exists(folder / rater.weights / str(seed)):
                raise Refusal(
                    f"raters.{name}.weights is {shown(rater.weights)}; {folder} has no such rater of the "
                    f"seed {seed}, which grid.seeds holds, and null trains a rater here."
                )
            _as_trained(name, rater, folder / rater.weights / str(seed))


def _as_trained(name: str, rater: MetaRater, source: Path) -> None:
    """Raises Refusal where the card says otherwise; what lacks a word of it is told in the stage rate."""
    card = files.read_json(source / CARD, files.ASSET_REMEDY) if (source / CARD).is_file() else None
    trained = card.get("rater") if isinstance(card, dict) else None
    if not isinstance(trained, dict):
        return
    for key in TRAINING:
        here, there = getattr(rater, key), trained.get(key, MetaRater.model_fields[key].default)
        if here != there:
            raise Refusal(
                f"raters.{name}.{key} is {shown(here)}, and {source} was trained with {shown(there)}; beside "
                "weights, which no training here changes, that is legal."
            )
