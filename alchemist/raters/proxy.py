"""Ratings that a plainly trained proxy gives without any meta-gradient: controls of what the rater adds.

A proxy rater is a function of a `Plain` run and its settings, and one line in `RULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import devices, files
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models.batch import Batch, Chance
from alchemist.models.encoded import Encoded, PoolRows, ValidationRows
from alchemist.models.family import Generator, Tick
from alchemist.models.training import forward_flops, train
from alchemist.raters import score
from alchemist.settings.budget import RateSettings, TrainSettings
from alchemist.settings.rater import (
    CaptionBandRater,
    CaptionGainRater,
    El2nRater,
    LossRater,
    RaterSettings,
    ReferenceLossRater,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plain:
    """One run of a plain proxy: who is trained on what, and where its state and its progress go."""

    make: Callable[[], Generator]  # a fresh proxy of this seed, on its device
    data: Encoded
    pool: PoolRows
    validation: ValidationRows
    seed: int
    budget: RateSettings
    scratch: Scratch
    trained: Callable[[int, str], object]  # hears of images trained on, and of the loss in words
    scored: Tick  # hears of pairs scored


@dataclass(frozen=True)
class Found:
    """What a rule gives: `rating` (N,) of the pool's pairs, higher first, the run's log, and what it cost."""

    rating: Floats
    log: list[dict[str, float]]
    train_flops: float
    score_flops: float
    score_seconds: float


def train_settings(budget: RateSettings) -> TrainSettings:
    """A plain proxy's training: as many images as a meta-trained rater sees of the pool, at equal rates."""
    return TrainSettings(
        images=budget.images,
        batch=budget.batch,
        learning_rate=budget.proxy_learning_rate,
        weight_decay=budget.weight_decay,
        clip=budget.clip,
        schedule="constant",
        warmup_images=budget.warmup_images,
        ema_images=0.0,
        caption_dropout=budget.caption_dropout,
        checkpoints=(),
        precision=budget.precision,
    )


def trained(
    run: Plain,
    rows: PoolRows | ValidationRows,
    shares: tuple[float, ...] = (),
    at_stop: Callable[[int, Generator], None] = lambda seen, proxy: None,
) -> tuple[Generator, list[dict[str, float]], float]:
    """A proxy trained on rows, its log and its FLOPs; `at_stop` is called at `shares` of the run."""
    budget, proxy = run.budget, run.make()
    stops = sorted({stop_at(budget, share) for share in (*shares, 1.0)})
    log = train(
        proxy, run.data, rows, train_settings(budget), run.seed, stops, run.scratch, at_stop, run.trained
    )
    # A backward pass costs twice a forward pass.
    return proxy, log, 3 * pass_flops(run, proxy, budget.batch) * stops[-1]


def stop_at(budget: RateSettings, share: float) -> int:
    """Images seen at a share of the run, in whole batches, at least one."""
    return max(1, round(share * (budget.images // budget.batch))) * budget.batch


def pass_flops(run: Plain, proxy: Generator, count: int) -> float:
    """FLOPs of a forward pass, a pair: counted on the pool's first `count` pairs."""
    return forward_flops(proxy.losses, _first(run, count)[0].to(devices.of(proxy)))


def _first(run: Plain, count: int) -> tuple[Batch, Chance]:
    """The pool's first pairs, on the host."""
    return run.data.batch(run.pool.numbers[:count]), Chance.run(0, 0, count)


def found(run: Plain, proxy: Generator, rating: Floats, log: list[dict[str, float]], train_flops: float,
          passes: int, seconds: float) -> Found:  # fmt: skip
    """What `passes` forward passes over the pool gave, with their FLOPs."""
    score_flops = passes * pass_flops(run, proxy, run.budget.score_batch) * len(run.pool)
    return Found(rating, log, train_flops, score_flops, seconds)


# ------------------------------------------------------------------------------ the rules


def loss(run: Plain, settings: LossRater) -> Found:
    """The proxy's loss of each pair, in the rater's direction: the control that the paper lacks."""
    proxy, log, flops = trained(run, run.pool)
    elapsed = devices.clock(devices.of(proxy))
    losses = score.pool_losses(proxy, run.data, run.pool, run.budget.score_batch, run.scored)
    return found(run, proxy, settings.direction * losses, log, flops, 1, elapsed())


def reference_loss(run: Plain, settings: ReferenceLossRater) -> Found:
    """Loss of a proxy of the pool less that of one of the validation split (after Mindermann et al. 2022)."""
    batch = run.budget.score_batch
    proxy, log, flops = trained(run, run.pool)
    with Scratch(run.scratch.folder.parent, fingerprint(second=run.scratch.mark)) as second:
        quiet = replace(run, scratch=second, trained=lambda n, words: None)
        other, more, more_flops = trained(quiet, run.validation)
        second.clear()
    elapsed = devices.clock(devices.of(proxy))
    excess = score.pool_losses(proxy, run.data, run.pool, batch, run.scored)
    excess = excess - score.pool_losses(other, run.data, run.pool, batch, run.scored)
    # The log's last row holds the seconds of all tries, here of both proxies.
    log[-1]["seconds"] += more[-1]["seconds"]
    return found(run, proxy, settings.direction * excess, log, flops + more_flops, 2, elapsed())


def el2n(run: Plain, settings: El2nRater) -> Found:
    """The norm of each pair's error at early checkpoints, a mean over them (Paul et al. 2021)."""
    # Refused before any training where the family defines no error.
    trial = run.make()
    pairs, chance = _first(run, 2)
    trial.error_norms(pairs.to(devices.of(trial)), chance)
    last, spent = stop_at(run.budget, max(settings.checkpoints)), 0.0

    def measure(seen: int, proxy: Generator) -> None:
        # A stop beyond the last checkpoint only ends the run. Kept beside the state, so that a
        # resumed run has those of before.
        nonlocal spent
        if seen <= last:
            elapsed = devices.clock(devices.of(proxy))
            norms = score.error_norms(proxy, run.data, run.pool, run.budget.score_batch, run.scored)
            path = run.scratch.folder / f"el2n-{seen:09d}.npy"
            with files.whole(path) as draft, draft.open("wb") as file:
                np.save(file, norms)
            spent += elapsed()

    proxy, log, flops = trained(run, run.pool, settings.checkpoints, measure)
    written = sorted(run.scratch.folder.glob("el2n-*.npy"))
    mean = np.mean([np.load(path) for path in written], axis=0)
    return found(run, proxy, settings.direction * mean, log, flops, len(written), spent)


def caption_gain(run: Plain, settings: CaptionGainRater) -> Found:
    """How much the caption lowers the proxy's loss: L(x, no caption) - L(x, caption)."""
    bare, given, empty = _caption_losses(run)
    return replace(bare, rating=settings.direction * (empty - given))


def caption_band(run: Plain, settings: CaptionBandRater) -> Found:
    """The middle of the loss ranking first, and last the pairs whose caption helps least (ours)."""
    bare, given, empty = _caption_losses(run)
    return replace(bare, rating=band(given, empty - given, settings.centre, settings.mismatched))


def _caption_losses(run: Plain) -> tuple[Found, Floats, Floats]:
    proxy, log, flops = trained(run, run.pool)
    elapsed = devices.clock(devices.of(proxy))
    given, empty = score.caption_losses(proxy, run.data, run.pool, run.budget.score_batch, run.scored)
    return found(run, proxy, given, log, flops, 2, elapsed()), given, empty


def band(losses: Floats, gains: Floats, centre: float, mismatched: float) -> Floats:
    """Ratings (N,): minus the distance of a pair's loss percentile from `centre`, in percent.

    Low losses are plain images and high ones chaotic, so the middle is rated best. A caption that does
    not help marks a pair whose image is another's: the `mismatched` percent of lowest gain lose 100.
    """
    rating = -np.abs(percentiles(losses) - centre)
    rating[percentiles(gains) < mismatched] -= 100
    return rating


def percentiles(values: Floats) -> Floats:
    """Percentile of each value, 0 for the smallest and 100 for the largest; equal values share their mean."""
    ranks = pd.Series(values).rank(method="average").to_numpy() - 1
    return 100 * ranks / max(len(values) - 1, 1)


RULES: dict[type, Callable[[Plain, Any], Found]] = {
    LossRater: loss,
    ReferenceLossRater: reference_loss,
    El2nRater: el2n,
    CaptionGainRater: caption_gain,
    CaptionBandRater: caption_band,
}


def passes(settings: RaterSettings) -> int:
    """Scorings of the pool that a rater takes, for its progress bar."""
    if isinstance(settings, El2nRater):
        return len(settings.checkpoints)
    return 2 if isinstance(settings, ReferenceLossRater | CaptionGainRater | CaptionBandRater) else 1
