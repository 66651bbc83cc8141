"""What must fit together across the blocks of params.yaml."""

import json
import os
from collections.abc import Mapping
from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.grid import GridSettings
from alchemist.core.settings.groups import GroupsSettings, StrataSettings
from alchemist.core.settings.pool import KeepingPool, UserPool
from alchemist.core.settings.rater import RaterSettings
from alchemist.core.settings.selection import SelectionSettings
from alchemist.core.settings.text import T5ClipText, of_family
from alchemist.core.shown import shown
from alchemist.params import sizes
from alchemist.params.adapted import check_adapted
from alchemist.params.families import check_families, models_named, rater_lists
from alchemist.params.registered import check_study
from alchemist.params.whole import Params, read
from alchemist.pools.emoji import EmojiPool
from alchemist.raters.kinds.loss_within import LossWithinRater
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.kinds.reference_loss import ReferenceLossRater
from alchemist.raters.table import LISTS


def check(params: Any) -> Params:
    """Checks everything that params.yaml holds. Raises Refusal with the first mistake."""
    whole = read(params)
    legal.one_of("pool", whole.pool, whole.pools)
    legal.one_of("scale", whole.scale, whole.scales)
    legal.one_of("roles.proxy", whole.roles.proxy, whole.models)
    legal.one_of("roles.rater", whole.roles.rater, whole.models)
    for key, name, _ in models_named(whole):
        legal.one_of(key, name, whole.models)
    for name, selection in whole.selections.items():
        legal.one_of(f"selections.{name}.rater", selection.rater, whole.raters)
    for key, names in rater_lists(whole.grid).items():
        kinds = {k: v for k, v in whole.raters.items() if LISTS[v.kind] == key.rpartition(".")[2]}
        for name in names:
            if name in whole.raters and name not in kinds:
                own = LISTS[whole.raters[name].kind]
                raise Refusal(f"{key} holds {name}, which belongs in grid.{own}; move it there.")
            legal.one_of(key, name, kinds)
    if whole.grid.oracles and not isinstance(whole.pools[whole.pool], EmojiPool):
        raise Refusal(
            f"grid.oracles is {', '.join(whole.grid.oracles)}; it should be [], because pool "
            f"{whole.pool} has no truth."
        )
    for scale, block in whole.scales.items():
        for name in block.train_of:
            if name not in whole.models:
                raise Refusal(legal.wrong_key(f"scales.{scale}.train_of.{name}", name, whole.models))
    _pools(whole)
    check_families(whole)
    check_adapted(whole)
    _arms(whole.grid, whole.selections, whole.raters)
    _contrasts(whole)
    for name in whole.studies:
        check_study(whole, name)
    _metrics(whole)
    _fits(whole)
    _samplers_fit(whole)
    return whole


def _pools(params: Params) -> None:
    """A pool that is a split of another is there, of a person's files, one split alone, and in no circle."""
    legal_names = {name: pool for name, pool in params.pools.items() if isinstance(pool, UserPool)}
    for name, pool in legal_names.items():
        keys = {"meta_val": "meta_validation"}
        others, told = pool.splits.others(), {_files(pool): name}
        for split, other in others.items():
            key = f"pools.{name}.splits.{keys.get(split, split)}.pool"
            legal.one_of(key, other, {k: v for k, v in legal_names.items() if k != name})
            if list(others.values()).count(other) > 1:
                raise Refusal(
                    f"{key} is {shown(other)}, which is another split too; each should be another pool."
                )
            if (first := told.setdefault(_files(legal_names[other]), other)) != other:
                raise Refusal(
                    f"{key} is {shown(other)}, whose files are those of {first}; a pool of other files is "
                    "legal."
                )
            if name in _below(other, legal_names):
                raise Refusal(
                    f"{key} is {shown(other)}, whose own splits lead back to {name}; no circle is legal."
                )


def _files(pool: UserPool) -> str:
    """What says which pairs a pool is of: its format, path, and all that only its format has."""
    common = {*UserPool.model_fields, *KeepingPool.model_fields} - {"format", "path"}
    told = pool.model_dump(mode="json", exclude=common)
    return json.dumps(told | {"path": os.path.normpath(pool.path)}, sort_keys=True)


def _below(name: str, pools: Mapping[str, UserPool]) -> set[str]:
    """The pools that a pool's splits name, those that theirs name, and so on."""
    found: set[str] = set()
    ahead = [name]
    while ahead:
        pool = pools.get(ahead.pop())  # none where a name is wrong, which is told as its own
        new = set(pool.splits.others().values()) - found if pool is not None else set()
        found |= new
        ahead += new
    return found


def _arms(
    grid: GridSettings, selections: dict[str, SelectionSettings], raters: dict[str, RaterSettings]
) -> None:
    """The cells of the grid, of the ablation and of the transfer are known, rated and distinct."""
    for key, names in (("selections", grid.selections), ("ablation.selections", grid.ablation.selections)):
        for name in names:
            legal.one_of(f"grid.{key}", name, selections)
            rater = selections[name].rater
            if rater not in grid.rated():
                raise Refusal(
                    f"grid.{key} holds {name}, whose rater {rater} is not in "
                    f"grid.{LISTS[raters[rater].kind]}; add it there."
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
            f"statistics.primary is null, but statistics.secondary is {shown(params.statistics.secondary)}; "
            "name a block of contrasts as the primary one, or ask for none by []."
        )
    twice = [name for name in params.statistics.secondary if params.statistics.secondary.count(name) > 1]
    if twice:
        raise Refusal(
            f"statistics.secondary holds {shown(twice[0])} twice; each name should stand there once."
        )
    for name, contrast in params.contrasts.items():
        legal.one_of(f"contrasts.{name}.arm", contrast.arm, params.selections)
        legal.one_of(f"contrasts.{name}.against", contrast.against, {**params.selections, "full": None})
        if contrast.model is not None:
            legal.one_of(f"contrasts.{name}.model", contrast.model, params.models)
    grid = params.grid
    for key, name in asked:
        legal.one_of(key, name, params.contrasts)
        contrast = params.contrasts[name].of(grid)
        model = contrast.model or grid.main
        if side := grid.lacks(contrast.arm, contrast.against, contrast.ratio, model):
            arm = getattr(contrast, side)
            raise Refusal(
                f"contrasts.{name}.{side} is {shown(arm)}; the grid has no cell {arm} at ratio "
                f"{contrast.ratio} for model {model}, so {key} cannot ask for it; add it, or ask for "
                "another or for none."
            )
        if contrast.metric == "nll" and not params.models[model].has_likelihood:
            raise Refusal(
                f"contrasts.{name}.metric is 'nll'; the model {model} is of the family "
                f"{params.models[model].family}, which has no likelihood, so {key} cannot ask for it."
            )
        if contrast.arm == contrast.against:
            raise Refusal(f"contrasts.{name}.against is {shown(contrast.against)}; it should be another arm.")
        if len(grid.seeds) < 2:
            raise Refusal(
                f"grid.seeds is {shown(grid.seeds)}; {key} asks for the interval of {name}, which "
                "needs at least two seeds."
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


def _fits(params: Params) -> None:
    """The sizes in force that must agree with each other."""
    pool, scale = params.pools[params.pool], params.scales[params.scale]
    where = f"scales.{params.scale}"
    if scale.rate.images < scale.rate.batch:
        raise Refusal(
            f"{where}.rate.images is {scale.rate.images}; at least rate.batch ({scale.rate.batch}) is legal."
        )
    for name in params.grid.rated():
        rater = params.raters[name]
        if isinstance(rater, MetaRater) and rater.rating_mode == "batch" and scale.rate.score_batch < 2:
            raise Refusal(
                f"{where}.rate.score_batch is {scale.rate.score_batch}; the rater {name} has the rating_mode "
                "batch, which rates a pair beside others, so at least 2 is legal."
            )
        if isinstance(rater, MetaRater) and rater.groups is not None:
            _groups_fit(params, name, rater.groups)
        if isinstance(rater, LossWithinRater):
            _strata_fit(params, name, rater.groups)
    if isinstance(pool, EmojiPool):
        sizes.told(params, sizes.composed(pool))
    elif isinstance(pool, UserPool):
        _splits_fit(params, pool)


def _groups_fit(params: Params, rater: str, groups: GroupsSettings) -> None:
    """A step has equal parts for its groups, each of two pairs or more."""
    budget = params.scales[params.scale].rate
    key, rate = f"raters.{rater}.groups", f"scales.{params.scale}.rate"
    if groups.a_step > groups.count:
        raise Refusal(f"{key}.a_step is {groups.a_step}; at most count ({groups.count}) is legal.")
    if budget.batch % groups.a_step or budget.batch < 2 * groups.a_step:
        raise Refusal(
            f"{key}.a_step is {groups.a_step}, and {rate}.batch {budget.batch} has no so many equal parts of "
            f"2 pairs or more; a divisor of {budget.batch} up to {budget.batch // 2} is legal."
        )
    if budget.reference_group < 2:
        raise Refusal(
            f"{rate}.reference_group is {budget.reference_group}; the rater {rater} knows a group by the "
            "variance of its pairs, so at least 2 is legal."
        )
    _strata_fit(params, rater, groups)


def _strata_fit(params: Params, rater: str, groups: StrataSettings) -> None:
    """Captions have lengths, and the pool tells sources, where groups are made by them."""
    pool, key = params.pools[params.pool], f"raters.{rater}.groups"
    family = params.grid.rated_by(rater)
    assert family is not None  # it trains a proxy
    text = of_family(params.scales[params.scale].encode.text, family)
    if groups.by == "caption_length" and isinstance(text, T5ClipText):
        raise Refusal(
            f"{key}.by is caption_length, and scales.{params.scale}.encode.text.{family} pads every caption "
            f"to {text.pieces} word pieces, so that all have one length; source and embedding are legal."
        )
    if groups.by == "source" and isinstance(pool, EmojiPool) and pool.sources is None:
        raise Refusal(
            f"{key}.by is source, and pools.{params.pool}.sources is null, so that its pairs tell none; "
            "caption_length and embedding are legal."
        )


def _splits_fit(params: Params, pool: UserPool) -> None:
    """No split of a person's pool is empty that a rating needs.

    Without an evaluation split, or without the scorer's, the ids are all that there is: stages train and
    scorer tell who asks for more.
    """
    key, words = f"pools.{params.pool}.splits", "it should be a share or {pool: NAME}"
    for name, is_needed in (
        ("evaluation", True),
        ("scorer", params.scales[params.scale].evaluate.clip == LIT),
    ):
        if params.grid.embeddings and is_needed and getattr(pool.splits, name) == 0:
            raise Refusal(
                f"{key}.{name} is 0; grid.embeddings holds {params.grid.embeddings[0]}, which rates by the "
                f"networks of stage scorer, and that needs this split; {words}."
            )
    if pool.splits.evaluation != 0 and pool.splits.clean is None:
        params.scales[params.scale].evaluate.of_clean(0, f"scales.{params.scale}.evaluate")
    if pool.splits.meta_validation == 0:
        sizes.without_best(params)
        for name in params.grid.rated():
            if isinstance(params.raters[name], MetaRater | ReferenceLossRater):
                raise Refusal(
                    f"{key}.meta_validation is 0; the rater {name} needs pairs to validate on, and {words}."
                )


def _samplers_fit(params: Params) -> None:
    """Every selection of the grid can keep what every ratio asks for."""
    for name, ratio in params.grid.arms():
        selection = params.selections[name]
        if selection.sampler == "full":
            raise Refusal(
                f"grid.selections holds {name}, whose sampler is full; the full data has its own cells."
            )
        if ratio == 1 and not selection.keeps_fewer():
            raise Refusal(
                f"grid.ablation holds {name} at 1.0, which keeps every pair; give selections.{name} a value "
                "least (sampler topk), or leave it out: the full data has its own cells."
            )
        try:
            selection.fits(ratio)
        except Refusal as refused:
            raise Refusal(f"selections.{name} at ratio {ratio}: {refused}") from None
