"""What raters without any meta-gradient share: a plainly trained proxy, its losses and what it costs.

A rater of this make is a function of a `Plain` run and its settings, in a file of `alchemist/raters/kinds/`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alchemist.core import devices
from alchemist.core.scratch import Scratch
from alchemist.core.settings.budget import RateSettings, TrainSettings
from alchemist.models.batch import Batch, Chance
from alchemist.models.encoded import Encoded, PoolRows, Rows, ValidationRows
from alchemist.models.family import Generator, Tick
from alchemist.models.training import forward_flops, train
from alchemist.raters import score
from alchemist.raters.groups import Groups

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plain:
    """One run of a proxy: who is trained on what, and where its state and its progress go."""

    proxy: Callable[[int], Generator]  # a fresh proxy of any seed, on its device
    data: Encoded
    pool: PoolRows
    validation: ValidationRows
    rated: Rows  # those of the pool, first, and those that a person's pool lent to other splits
    seed: int
    budget: RateSettings
    scratch: Scratch
    trained: Callable[[int, str], object]  # hears of images trained on, and of the loss in words
    scored: Tick  # hears of pairs scored
    name: str = field(kw_only=True)  # of the block of `raters:`
    groups: Groups | None = field(default=None, kw_only=True)  # of the pool, under groups compared and within


@dataclass(frozen=True)
class Found:
    """What a rater gives: `rating` (N,) of the rated pairs, higher first, a log, and what it cost."""

    rating: Floats
    log: list[dict[str, float]]
    train_flops: float
    score_flops: float
    score_seconds: float
    facts: dict[str, Any] = field(default_factory=dict)  # more to tell of it, for its rating.json
    uncounted_seconds: float = 0.0  # spent on counting operations, which is no part of what a rating costs


def train_settings(budget: RateSettings) -> TrainSettings:
    """A plain proxy's training: as many images as a meta-trained rater sees of the pool, at equal rates."""
    return TrainSettings(
        images=budget.images,
        batch=budget.batch,
        chunk=budget.chunk,
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
    budget, proxy = run.budget, run.proxy(run.seed)
    stops = sorted({stop_at(budget, share) for share in (*shares, 1.0)})
    log = train(
        proxy, run.data, rows, train_settings(budget), run.seed, stops, run.scratch, at_stop, run.trained,
        rate_key="rate.proxy_learning_rate",
    )  # fmt: skip
    # A backward pass costs twice a forward pass.
    return proxy, log, 3 * pass_flops(run, proxy, budget.batch, training=True, chunk=budget.chunk) * stops[-1]


def stop_at(budget: RateSettings, share: float) -> int:
    """Images seen at a share of the run, in whole batches, at least one."""
    return max(1, round(share * (budget.images // budget.batch))) * budget.batch


def pass_flops(run: Plain, proxy: Generator, count: int, training: bool, chunk: int | None = None) -> float:
    """FLOPs of a forward pass, a pair: counted on the pool's first `count` pairs, or on a chunk of them."""
    some = first(run, count)[0][: chunk or count]
    return forward_flops(proxy.losses, some.to(devices.of(proxy)), training)


def first(run: Plain, count: int) -> tuple[Batch, Chance]:
    """The pool's first pairs, on the host."""
    return run.data.batch(run.pool.numbers[:count]), Chance.run(0, 0, count)


def found(run: Plain, proxy: Generator, rating: Floats, log: list[dict[str, float]], train_flops: float,
          passes: int, seconds: float) -> Found:  # fmt: skip
    """What `passes` forward passes over the rated pairs gave, with their FLOPs."""
    score_flops = passes * pass_flops(run, proxy, run.budget.score_batch, training=False) * len(run.rated)
    return Found(rating, log, train_flops, score_flops, seconds)


def caption_losses(run: Plain) -> tuple[Found, Floats, Floats]:
    """A proxy's losses (N,) with the captions and without, and what they cost, rated by the former."""
    proxy, log, flops = trained(run, run.pool)
    elapsed = devices.clock(devices.of(proxy))
    given, empty = score.caption_losses(proxy, run.data, run.rated, run.budget.score_batch, run.scored)
    return found(run, proxy, given, log, flops, 2, elapsed()), given, empty
