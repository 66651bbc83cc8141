"""params.yaml as a whole: which blocks there are, each read by its own class."""

import re
from typing import Any

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, legal, parse
from alchemist.core.settings.contrast import ContrastSettings, StatisticsSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.grid import GridSettings, RolesSettings
from alchemist.core.settings.launcher import launcher_setting
from alchemist.core.settings.model import FamilyCodec, ModelSettings, codec_settings, model_settings
from alchemist.core.settings.plan import PlanSettings
from alchemist.core.settings.pool import PoolSettings
from alchemist.core.settings.rater import RaterSettings
from alchemist.core.settings.scale import ScaleSettings, scale_settings
from alchemist.core.settings.selection import SelectionSettings
from alchemist.core.settings.study import StudySettings
from alchemist.core.shown import shown
from alchemist.params.inherit import TABLES, inherited
from alchemist.pools.read import pool_settings
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings

NAME = re.compile(r"(?!full$)[A-Za-z0-9_]{1,100}")  # DVC splits keys at dots and joins cell names by hyphens


class Params(Settings):
    """params.yaml as a whole."""

    model_config = Settings.model_config | {"arbitrary_types_allowed": True}
    pool: str = Field(description="the block of pools that is in force")
    scale: str = Field(description="the block of scales that is in force")
    device: str = Field(
        description="where networks run: auto (the first GPU, or else the CPU), cpu, cuda, cuda:1"
    )
    launcher: str = Field(
        description="the command in front of the stages that train: python (one process), torchrun "
        "--nproc-per-node 2, accelerate launch --num_processes 2 …"
    )
    roles: RolesSettings = Field(description="which models play proxy and rater")
    grid: GridSettings = Field(description="the cells: every selection at every ratio, model and seed")
    # A class of its own for each family in use: see `settings.model.codec_settings`.
    codecs: dict[str, FamilyCodec] = Field(description="the image codec of each family in use, by its name")
    pools: dict[str, PoolSettings] = Field(description="where pairs come from")
    raters: dict[str, RaterSettings] = Field(
        description="what gives the pairs a rating; higher is kept first"
    )
    selections: dict[str, SelectionSettings] = Field(description="a rater and a sampler")
    models: dict[str, ModelSettings] = Field(description="sizes of generators")
    contrasts: dict[str, ContrastSettings] = Field(description="differences of two arms, seed by seed")
    statistics: StatisticsSettings = Field(description="which contrasts are tested")
    scales: dict[str, ScaleSettings] = Field(description="budgets")
    studies: dict[str, StudySettings] = Field(description="studies that are registered before their run")
    plan: PlanSettings = Field(description="the card that a plan reckons with")


def read(params: Any) -> Params:
    """Every block by its class. Raises Refusal with the first mistake."""
    names = list(Params.model_fields)
    if not isinstance(params, dict):
        raise Refusal(f"params.yaml holds {shown(params)}; it should hold the keys {', '.join(names)}.")
    for key in params:
        if key not in names:
            raise Refusal(legal.wrong_key(str(key), key, names))
    for key in names:
        if key not in params:
            raise Refusal(f"{key} is missing; params.yaml needs the keys {', '.join(names)}.")
    for key in TABLES:
        _check_names(params, key)
    params = inherited(params)
    return Params.model_construct(
        pool=params["pool"],
        scale=params["scale"],
        device=device_setting(params["device"]),
        launcher=launcher_setting(params["launcher"]),
        roles=parse(RolesSettings, params["roles"], "roles"),
        grid=parse(GridSettings, params["grid"], "grid"),
        codecs=codec_settings(params["codecs"], "codecs"),
        pools={k: pool_settings(v, f"pools.{k}") for k, v in _blocks(params, "pools")},
        raters={k: rater_settings(v, f"raters.{k}") for k, v in _blocks(params, "raters")},
        selections={k: selection_settings(v, f"selections.{k}") for k, v in _blocks(params, "selections")},
        models={k: model_settings(v, f"models.{k}") for k, v in _blocks(params, "models")},
        contrasts={k: parse(ContrastSettings, v, f"contrasts.{k}") for k, v in _blocks(params, "contrasts")},
        statistics=parse(StatisticsSettings, params["statistics"], "statistics"),
        scales={k: scale_settings(v, f"scales.{k}") for k, v in _blocks(params, "scales")},
        studies={k: parse(StudySettings, v, f"studies.{k}") for k, v in _blocks(params, "studies")},
        plan=parse(PlanSettings, params["plan"], "plan"),
    )


def _check_names(params: dict[str, Any], key: str) -> None:
    if not isinstance(params[key], dict) or not params[key]:
        raise Refusal(f"{key} is {shown(params[key])}; it should hold at least one named block.")
    for name in params[key]:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Refusal(
                f"{key} has a block named {shown(name)}; legal names hold letters, digits and "
                "underscores, at most 100, and are not full, which names the full data's cells."
            )


def _blocks(params: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    return list(params[key].items())
