"""The dials, the grid, and what must fit together across blocks of params.yaml."""

import re
from typing import Any

from pydantic import Field, field_validator

from alchemist import samplers
from alchemist.refusal import Refusal
from alchemist.settings import Settings, parse
from alchemist.settings.budget import EncodeSettings, RateSettings, TokenizerSettings, TrainSettings
from alchemist.settings.evaluation import LIT, EvaluateSettings, ScorerSettings
from alchemist.settings.model import StarSettings
from alchemist.settings.pool import EmojiPool, UserPool, pool_settings
from alchemist.settings.rater import MetaRater, OracleRater, RaterSettings, rater_settings
from alchemist.settings.selection import SelectionSettings


class RolesSettings(Settings):
    """Which models play which part in rating."""

    proxy: str = Field(description="model whose losses are the credits")
    rater: str = Field(description="model whose trunk the rater has")


class GridSettings(Settings):
    """The cells: selections x ratios x models x seeds, and the full data for models x seeds."""

    selections: tuple[str, ...] = Field(min_length=1)
    raters: tuple[str, ...] = Field(description="raters that the selections need")
    oracles: tuple[str, ...] = Field(description="those that read planted truth")
    ratios: tuple[float, ...] = Field(min_length=1)
    models: tuple[str, ...] = Field(min_length=1)
    seeds: tuple[int, ...] = Field(min_length=1)

    @field_validator("selections", "raters", "oracles", "ratios", "models", "seeds")
    @classmethod
    def _distinct(cls, values: tuple[Any, ...]) -> tuple[Any, ...]:
        # DVC makes one cell of two equal names, without a word.
        twice = sorted({str(v) for v in values if [str(w) for w in values].count(str(v)) > 1})
        if twice:
            raise ValueError(f"each name should stand there once, and {', '.join(twice)} stands there twice")
        return values

    @field_validator("ratios")
    @classmethod
    def _shares(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 < value < 1 for value in values):
            raise ValueError(
                "ratios should be larger than 0 and smaller than 1; the full data has its own cells"
            )
        return values

    @field_validator("seeds")
    @classmethod
    def _natural(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        if not all(value >= 0 for value in values):
            raise ValueError("seeds should be whole numbers from 0")
        return values


class ScaleSettings(Settings):
    """A block of `scales:`."""

    encode: EncodeSettings
    scorer: ScorerSettings
    rate: RateSettings
    train: TrainSettings
    evaluate: EvaluateSettings


class Params(Settings):
    """params.yaml as a whole."""

    model_config = Settings.model_config | {"arbitrary_types_allowed": True}
    pool: str
    scale: str
    roles: RolesSettings
    grid: GridSettings
    tokenizer: TokenizerSettings
    pools: dict[str, EmojiPool | UserPool]
    raters: dict[str, RaterSettings]
    selections: dict[str, SelectionSettings]
    models: dict[str, StarSettings]
    scales: dict[str, ScaleSettings]


def check(params: Any) -> Params:
    """Checks everything that params.yaml holds. Raises Refusal with the first mistake."""
    if not isinstance(params, dict):
        raise Refusal(
            f"params.yaml holds {params!r}; it should hold the keys {', '.join(Params.model_fields)}."
        )
    for key in params:
        if key not in Params.model_fields:
            raise Refusal(f"{key} is not a known key; legal keys are {', '.join(Params.model_fields)}.")
    for key in Params.model_fields:
        if key not in params:
            raise Refusal(f"{key} is missing; params.yaml needs the keys {', '.join(Params.model_fields)}.")
    whole = Params.model_construct(
        pool=params["pool"],
        scale=params["scale"],
        roles=parse(RolesSettings, params["roles"], "roles"),
        grid=parse(GridSettings, params["grid"], "grid"),
        tokenizer=parse(TokenizerSettings, params["tokenizer"], "tokenizer"),
        pools={k: pool_settings(v, f"pools.{k}") for k, v in _blocks(params, "pools")},
        raters={k: rater_settings(v, f"raters.{k}") for k, v in _blocks(params, "raters")},
        selections={
            k: parse(SelectionSettings, v, f"selections.{k}") for k, v in _blocks(params, "selections")
        },
        models={k: parse(StarSettings, v, f"models.{k}") for k, v in _blocks(params, "models")},
        scales={k: parse(ScaleSettings, v, f"scales.{k}") for k, v in _blocks(params, "scales")},
    )
    _named("pool", whole.pool, whole.pools)
    _named("scale", whole.scale, whole.scales)
    _named("roles.proxy", whole.roles.proxy, whole.models)
    _named("roles.rater", whole.roles.rater, whole.models)
    for name in whole.grid.models:
        _named("grid.models", name, whole.models)
    for name, selection in whole.selections.items():
        _named(f"selections.{name}.rater", selection.rater, whole.raters)
    for key, names in (("raters", whole.grid.raters), ("oracles", whole.grid.oracles)):
        for name in names:
            _named(
                f"grid.{key}",
                name,
                {k: v for k, v in whole.raters.items() if _is_oracle(v) == (key == "oracles")},
            )
    planted = isinstance(whole.pools[whole.pool], EmojiPool)
    if whole.grid.oracles and not planted:
        raise Refusal(
            f"grid.oracles is {list(whole.grid.oracles)}; [] is legal, as pool {whole.pool} has no truth."
        )
    for name in whole.grid.selections:
        _named("grid.selections", name, whole.selections)
        rater = whole.selections[name].rater
        if rater not in (*whole.grid.raters, *whole.grid.oracles):
            key = "oracles" if _is_oracle(whole.raters[rater]) else "raters"
            raise Refusal(
                f"grid.selections holds {name}, whose rater {rater} is not in grid.{key}; add it there."
            )
    _fits(whole)
    _samplers_fit(whole)
    return whole


def _is_oracle(rater: RaterSettings) -> bool:
    return isinstance(rater, OracleRater)


def _blocks(params: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    if not isinstance(params[key], dict) or not params[key]:
        raise Refusal(f"{key} is {params[key]!r}; it should hold at least one named block.")
    for name in params[key]:
        # DVC splits keys at dots and joins cell names by hyphens.
        if not isinstance(name, str) or name == "full" or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise Refusal(
                f"{key} has a block named {name!r}; legal names hold letters, digits and underscores, and "
                "are not full, which names the full data's cells."
            )
    return list(params[key].items())


def _named(key: str, name: object, names: dict[str, Any]) -> None:
    if not isinstance(name, str) or name not in names:
        raise Refusal(f"{key} is {name!r}; legal values are {', '.join(names)}.")


def _fits(params: Params) -> None:
    """The sizes in force that must agree with each other."""
    pool, scale = params.pools[params.pool], params.scales[params.scale]
    where = f"scales.{params.scale}"
    if scale.rate.images < scale.rate.batch:
        raise Refusal(
            f"{where}.rate.images is {scale.rate.images}; at least rate.batch ({scale.rate.batch}) is legal."
        )
    if isinstance(pool, EmojiPool):
        if pool.evaluation.pairs < 2 * scale.evaluate.images:
            raise Refusal(
                f"{where}.evaluate.images is {scale.evaluate.images}; at most half of "
                f"pools.{params.pool}.evaluation.pairs ({pool.evaluation.pairs // 2}) is legal."
            )
        for ratio in params.grid.ratios:
            if round(ratio * pool.pairs) < 1:
                raise Refusal(f"grid.ratios holds {ratio}; of {pool.pairs} pairs that keeps none.")
        if scale.evaluate.clip == LIT and pool.scorer.pairs < 2 * scale.scorer.batch:
            raise Refusal(
                f"{where}.scorer.batch is {scale.scorer.batch}; at most half of "
                f"pools.{params.pool}.scorer.pairs ({pool.scorer.pairs // 2}) is legal."
            )
    elif pool.splits.meta_validation == 0 and any(
        isinstance(params.raters[name], MetaRater) for name in params.grid.raters
    ):
        raise Refusal(
            f"pools.{params.pool}.splits.meta_validation is 0; raters of kind meta need pairs to validate on."
        )


def _samplers_fit(params: Params) -> None:
    """Every selection of the grid can keep what every ratio asks for."""
    for name in params.grid.selections:
        selection = params.selections[name]
        if selection.sampler == "full":
            raise Refusal(
                f"grid.selections holds {name}, whose sampler is full; the full data has its own cells."
            )
        for ratio in params.grid.ratios:
            try:
                if selection.sampler == "shift_gsample":
                    samplers.shift_drop(ratio, selection.drop)
                if selection.sampler == "block":
                    samplers.block_start(10**6, samplers.kept_count(10**6, ratio), ratio, selection.start)
            except Refusal as refused:
                raise Refusal(f"selections.{name} at ratio {ratio}: {refused}") from None
