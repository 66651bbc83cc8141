"""What must fit together across the blocks of params.yaml."""

from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.params.whole import Params, read
from alchemist.pools.emoji import EmojiPool
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.kinds.reference_loss import ReferenceLossRater
from alchemist.raters.table import LISTS
from alchemist.settings import legal
from alchemist.settings.evaluation import LIT
from alchemist.settings.grid import GridSettings
from alchemist.settings.pool import UserPool
from alchemist.settings.rater import RaterSettings
from alchemist.settings.selection import SelectionSettings


def check(params: Any) -> Params:
    """Checks everything that params.yaml holds. Raises Refusal with the first mistake."""
    whole = read(params)
    _named("pool", whole.pool, whole.pools)
    _named("scale", whole.scale, whole.scales)
    _named("roles.proxy", whole.roles.proxy, whole.models)
    _named("roles.rater", whole.roles.rater, whole.models)
    for name in whole.grid.models:
        _named("grid.models", name, whole.models)
    for name in whole.grid.transfer.models:
        _named("grid.transfer.models", name, whole.models)
    for name, selection in whole.selections.items():
        _named(f"selections.{name}.rater", selection.rater, whole.raters)
    for key in dict.fromkeys(LISTS.values()):
        for name in getattr(whole.grid, key):
            _named(f"grid.{key}", name, {k: v for k, v in whole.raters.items() if LISTS[v.kind] == key})
    if whole.grid.oracles and not isinstance(whole.pools[whole.pool], EmojiPool):
        raise Refusal(
            f"grid.oracles is {', '.join(whole.grid.oracles)}; it should be [], because pool "
            f"{whole.pool} has no truth."
        )
    _one_family(whole)
    _arms(whole.grid, whole.selections, whole.raters)
    _contrasts(whole)
    _metrics(whole)
    _fits(whole)
    _samplers_fit(whole)
    return whole


def _one_family(params: Params) -> None:
    """The stages that dvc.yaml has are a group of one family, and its law is there."""
    first = params.roles.proxy
    family = params.models[first].family
    uses = [("roles.rater", params.roles.rater)]
    uses += [("grid.models", name) for name in params.grid.models]
    uses += [("grid.transfer.models", name) for name in params.grid.transfer.models]
    for key, name in uses:
        if (other := params.models[name].family) != family:
            raise Refusal(
                f"{key} holds {name} of the family {other}; roles.proxy ({first}) is of the family {family}, "
                "and a grid has models of one family."
            )
    if family not in params.scales[params.scale].sample:
        raise Refusal(
            f"scales.{params.scale}.sample.{family} is missing; models of the family {family} need it."
        )


def _arms(
    grid: GridSettings, selections: dict[str, SelectionSettings], raters: dict[str, RaterSettings]
) -> None:
    """The cells of the grid, of the ablation and of the transfer are known, rated and distinct."""
    for key, names in (("selections", grid.selections), ("ablation.selections", grid.ablation.selections)):
        for name in names:
            _named(f"grid.{key}", name, selections)
            rater = selections[name].rater
            wanted = LISTS[raters[rater].kind]
            if rater not in getattr(grid, wanted):
                raise Refusal(
                    f"grid.{key} holds {name}, whose rater {rater} is not in grid.{wanted}; add it there."
                )
    twice = [arm for arm in grid.arms() if grid.arms().count(arm) > 1]
    if twice:
        raise Refusal(
            f"grid.ablation holds {twice[0][0]} at {twice[0][1]}, which is a cell of the grid already; "
            "leave it out there."
        )
    for name in grid.transfer.selections:
        for ratio in grid.transfer.ratios:
            if (name, ratio) not in grid.arms():
                raise Refusal(
                    f"grid.transfer holds {name} at {ratio}, which is no subset of the grid; legal are "
                    f"{', '.join(f'{n} at {r}' for n, r in grid.arms())}."
                )
    both = set(grid.models) & set(grid.transfer.models)
    if both:
        raise Refusal(
            f"grid.transfer.models holds {min(both)}, which is in grid.models already; leave it out there."
        )
    for key in ("ablation", "transfer"):
        lists = getattr(grid, key).model_dump()
        if any(lists.values()) and not all(lists.values()):
            empty = next(name for name, values in lists.items() if not values)
            raise Refusal(
                f"grid.{key}.{empty} is []; it should have an item, or all lists of grid.{key} be []."
            )


def _contrasts(params: Params) -> None:
    """The contrasts that are asked for are known, and their arms are cells with two seeds at least."""
    asked = [("statistics.secondary", name) for name in params.statistics.secondary]
    if params.statistics.primary is not None:
        asked.insert(0, ("statistics.primary", params.statistics.primary))
        if params.statistics.primary in params.statistics.secondary:
            raise Refusal(
                f"statistics.secondary holds {params.statistics.primary}, which is the primary contrast; "
                "leave it out there."
            )
    elif params.statistics.secondary:
        raise Refusal(
            "statistics.primary is null, but statistics.secondary asks for intervals; name a block of "
            "contrasts."
        )
    if len(set(params.statistics.secondary)) < len(params.statistics.secondary):
        raise Refusal("statistics.secondary holds a contrast twice; each name should stand there once.")
    for name, contrast in params.contrasts.items():
        _named(f"contrasts.{name}.arm", contrast.arm, params.selections)
        _named(f"contrasts.{name}.against", contrast.against, {**params.selections, "full": None})
        if contrast.model is not None:
            _named(f"contrasts.{name}.model", contrast.model, params.models)
    grid = params.grid
    for key, name in asked:
        _named(key, name, params.contrasts)
        contrast = params.contrasts[name].of(grid)
        model = contrast.model
        cells = [(n, r, m) for n, r in grid.arms() for m in grid.models]
        cells += [
            (n, r, m)
            for n in grid.transfer.selections
            for r in grid.transfer.ratios
            for m in grid.transfer.models
        ]
        for side, arm in (("arm", contrast.arm), ("against", contrast.against)):
            whole = side == "against" and arm == "full" and model in grid.models
            if not whole and (arm, contrast.ratio, model) not in cells:
                raise Refusal(
                    f"contrasts.{name}.{side} is {arm!r}; the grid has no cell {arm} at ratio "
                    f"{contrast.ratio} for model {model}, so {key} cannot ask for it."
                )
        if contrast.arm == contrast.against:
            raise Refusal(f"contrasts.{name}.against is {contrast.against!r}; it should be another arm.")
        if len(grid.seeds) < 2:
            raise Refusal(
                f"grid.seeds is {list(grid.seeds)}; {key} asks for the interval of {name}, which needs at "
                "least two seeds."
            )


def _metrics(params: Params) -> None:
    """The contrasts that are asked for are in figures that the scale in force measures."""
    names = params.scales[params.scale].evaluate.names
    for name in (params.statistics.primary, *params.statistics.secondary):
        metric = "fd" if name is None else params.contrasts[name].metric
        if metric not in {"fd_coded", "nll", *names}:
            raise Refusal(
                f"contrasts.{name}.metric is {metric}, which scales.{params.scale}.evaluate.further does not "
                f"ask for; legal are {', '.join(names)}, fd_coded and nll."
            )


def _named(key: str, name: object, names: dict[str, Any]) -> None:
    if not isinstance(name, str) or name not in names:
        raise Refusal(legal.wrong_value(key, name, names))


def _fits(params: Params) -> None:
    """The sizes in force that must agree with each other."""
    pool, scale = params.pools[params.pool], params.scales[params.scale]
    where = f"scales.{params.scale}"
    if scale.rate.images < scale.rate.batch:
        raise Refusal(
            f"{where}.rate.images is {scale.rate.images}; at least rate.batch ({scale.rate.batch}) is legal."
        )
    if isinstance(pool, EmojiPool):
        if scale.evaluate.images > (most := scale.evaluate.most(pool.evaluation.pairs)):
            share = "all" if scale.evaluate.references == "all" else "half"
            raise Refusal(
                f"{where}.evaluate.images is {scale.evaluate.images}; at most {share} of "
                f"pools.{params.pool}.evaluation.pairs ({most}) is legal."
            )
        for _, ratio in params.grid.arms():
            if round(ratio * pool.pairs) < 1:
                raise Refusal(f"grid.ratios holds {ratio}; of {pool.pairs} pairs that keeps none.")
        if scale.evaluate.clip == LIT and pool.scorer.pairs < 2 * scale.scorer.batch:
            raise Refusal(
                f"{where}.scorer.batch is {scale.scorer.batch}; at most half of "
                f"pools.{params.pool}.scorer.pairs ({pool.scorer.pairs // 2}) is legal."
            )
    elif isinstance(pool, UserPool) and pool.splits.meta_validation == 0:
        for name in params.grid.raters:
            if isinstance(params.raters[name], MetaRater | ReferenceLossRater):
                raise Refusal(
                    f"pools.{params.pool}.splits.meta_validation is 0; the rater {name} needs pairs to "
                    "validate on."
                )


def _samplers_fit(params: Params) -> None:
    """Every selection of the grid can keep what every ratio asks for."""
    for name, ratio in params.grid.arms():
        selection = params.selections[name]
        if selection.sampler == "full":
            raise Refusal(
                f"grid.selections holds {name}, whose sampler is full; the full data has its own cells."
            )
        try:
            selection.fits(ratio)
        except Refusal as refused:
            raise Refusal(f"selections.{name} at ratio {ratio}: {refused}") from None
