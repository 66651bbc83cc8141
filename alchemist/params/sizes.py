"""Whether the sizes that params.yaml asks for fit the pool: known from its counts, before any slow stage."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.pool import UserPool
from alchemist.params.whole import Params
from alchemist.pools import emoji, store
from alchemist.pools.emoji import EmojiPool
from alchemist.pruning.laws import kept_count
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.kinds.reference_loss import ReferenceLossRater

SPARE = 3.0  # standard errors of what a share draws, by which an advised one is above what is needed


@dataclass(frozen=True)
class Counts:
    """Usable pairs of each split, and of all that are rated."""

    pool: int
    meta_val: int
    evaluation: int
    scorer: int
    rated: int
    clean: int = 0
    distinct: int | None = None  # meta-validation pairs, copies of one another counted once; None: all are


def counted(folder: Path) -> Counts:
    """The counts of a pool's folder."""
    counts, lent = files.read_json(folder / store.CARD)["counts"], store.lent(folder)
    ok = {split: by.get("ok", 0) for split, by in counts.items()}
    rated = ok["pool"] + sum(lent.values())
    return _of(ok, rated, store.distinct(folder, "meta_val"))


def composed(pool: EmojiPool) -> Counts:
    """The counts of a pool that is composed, which its settings say; nothing of it is lent."""
    return _of(emoji.counts(pool), pool.pairs)


def _of(ok: Mapping[str, int], rated: int, distinct: int | None = None) -> Counts:
    """The counts of usable pairs by split as fields."""
    return Counts(
        ok["pool"], ok["meta_val"], ok["evaluation"], ok["scorer"], rated, ok.get("clean", 0), distinct
    )


def told(params: Params, counts: Counts) -> list[str]:
    """A line a size. Raises Refusal for the first that does not fit, with the largest legal value."""
    return [
        f"{counts.pool:,} pairs in the split pool, {counts.rated:,} pairs rated",
        *_kept(params, counts),
        *_validation(params, counts),
        _evaluation(params, counts.evaluation, counts.clean),
        _scorer(params, counts.scorer),
        *_fits(params, counts.pool),
    ]


def _kept(params: Params, counts: Counts) -> Iterator[str]:
    """Of every ratio what cells train on and which ids there are."""
    grid = params.grid
    lists = {
        "ratios": grid.ratios,
        "ablation.ratios": grid.ablation.ratios,
        "transfer.ratios": grid.transfer.ratios,
    }
    for ratio in dict.fromkeys(ratio for _, ratio in grid.arms()):
        if round(ratio * counts.pool) < 1:
            key = next(name for name, ratios in lists.items() if ratio in ratios)
            raise Refusal(
                f"grid.{key} holds {ratio}; of {counts.pool} pairs that keeps none, and at least "
                f"{(math.floor(5e3 / counts.pool) + 1) / 1e4} is legal."
            )
        ids, cells = kept_count(counts.rated, ratio), kept_count(counts.pool, ratio)
        yield f"kept at {ratio}: {ids:,} ids; cells train on {cells:,} pairs"


def _validation(params: Params, counts: Counts) -> Iterator[str]:
    """How often a rater's proxy sees a pair of the meta-validation split."""
    budget, where = params.scales[params.scale].rate, f"scales.{params.scale}.rate"
    pairs = counts.meta_val
    distinct = pairs if counts.distinct is None else counts.distinct
    needing = {name: params.raters[name] for name in params.grid.rated()}
    trained = {
        name: rater
        for name, rater in needing.items()
        if isinstance(rater, ReferenceLossRater) or (isinstance(rater, MetaRater) and rater.weights is None)
    }
    if not pairs:
        without_best(params)
        yield "no meta-validation pairs"
        return
    for name, rater in trained.items():
        if isinstance(rater, MetaRater) and distinct < rater.least_validation:
            has = f"{pairs} pairs" if distinct == pairs else f"{distinct} pairs where copies count once"
            raise Refusal(
                f"raters.{name}.least_validation is {rater.least_validation}, and the meta-validation "
                f"split has {has}; {_would_do(params, counts, rater.least_validation, distinct)}."
            )
    passes = budget.images / pairs
    if trained and budget.validation_passes is not None and passes > budget.validation_passes:
        raise Refusal(
            f"{where}.images is {budget.images}; {pairs} meta-validation pairs, each seen "
            f"{budget.validation_passes:g} times at most (validation_passes), allow for at most "
            f"{int(budget.validation_passes * pairs)}."
        )
    seen = f", each seen {passes:.1f} times by a rater's proxy" if trained else ""
    yield f"{pairs:,} meta-validation pairs{seen}"
    group = min(budget.reference_group, counts.pool)
    if trained:
        yield f"{group:,} pairs of the split pool beside which every pair is rated"


def without_best(params: Params) -> None:
    """Raises Refusal where a contrast asks for best checkpoints, which a pool without such pairs has not."""
    for name in (params.statistics.primary, *params.statistics.secondary):
        if name is not None and params.contrasts[name].point == "best":
            raise Refusal(
                f"contrasts.{name}.point is best, the checkpoint of least meta-validation loss, and the pool "
                f"{params.pool} has no meta-validation pairs; equal_images and equal_epochs are legal."
            )


def _would_do(params: Params, counts: Counts, least: int, drawn: int) -> str:
    """What to set for a meta-validation split of `least` pairs, in words; `drawn` of them are there."""
    pool, key = params.pools[params.pool], f"pools.{params.pool}"
    if isinstance(pool, EmojiPool):
        return f"{key}.meta_validation.pairs {least} would do"
    assert isinstance(pool, UserPool)  # there are no others in the table
    named = pool.splits.others().get("meta_val")
    if named:
        return f"a pool of more pairs than {named} would do, or a share of {params.pool} itself"
    now = pool.splits.shares().get("meta_val", 0.0)
    share = _share(counts.rated, least)
    if now * least < drawn:  # by what this draw gave of the share in force
        share = max(share, math.ceil(1000 * now * least / drawn) / 1000)
    others = sum(pool.splits.shares().values()) - now
    if share + others < 1:
        return f"{key}.splits.meta_validation {share:g} would do"
    if share < 1:
        return f"{key}.splits with meta_validation {share:g} and no other share would do"
    return (
        f"of {counts.rated} pairs in all no share would do: {key} needs more, or a rater that trains on "
        "none, as loss, best or caption_quota"
    )


def _share(pairs: int, least: int) -> float:
    """The least share, in thousandths, that draws `least` of so many pairs but for once in 700; 1: none."""
    for step in range(1, 1000):
        drawn = pairs * step / 1000
        if drawn - SPARE * math.sqrt(drawn * (1 - step / 1000)) >= least:
            return step / 1000
    return 1.0


def _evaluation(params: Params, pairs: int, clean: int) -> str:
    """Prompts and references of the evaluation."""
    if not pairs:
        return "no evaluation pairs: no cell can be measured; `dvc repro prune` ends with the ids"
    where = f"scales.{params.scale}.evaluate"
    asked = params.scales[params.scale].evaluate
    settings = asked.fitted(pairs, where)
    beside = pairs if settings.references == "all" else pairs - settings.prompts
    capped = " (most_images)" if asked.images is None and settings.prompts == asked.most_images else ""
    told = f"{settings.prompts:,} prompts{capped} and {beside:,} references of {pairs:,} evaluation pairs"
    more = settings.of_clean(clean, where)
    return told + (f"; {more:,} prompts of {clean:,} clean ones" if clean else "")


def _scorer(params: Params, pairs: int) -> str:
    """The batch of the scorer that is fitted here."""
    scale, where = params.scales[params.scale], f"scales.{params.scale}.scorer"
    if scale.evaluate.clip != LIT:
        return f"the scorer is {scale.evaluate.clip}, which is fitted on no pair"
    if not pairs:
        return "no scorer pairs: no cell can be measured by clip lit"
    if scale.scorer.batch is not None and scale.scorer.batch > pairs // 2:
        raise Refusal(
            f"{where}.batch is {scale.scorer.batch}; the split scorer has {pairs} pairs, so at most "
            f"{pairs // 2} is legal."
        )
    return f"{scale.scorer.taken(pairs, where):,} pairs a step of the scorer, of {pairs:,}"


def _fits(params: Params, pairs: int) -> Iterator[str]:
    """Of a codec that is fitted anew, how long."""
    composed = isinstance(params.pools[params.pool], EmojiPool)
    for family in params.grid.families:
        images = params.codecs[family].fitted_on(None if composed else pairs)
        if images is not None:
            yield f"{images:,} images of the fit of the codec of {family}"
