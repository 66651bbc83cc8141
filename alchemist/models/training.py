"""The training loop of proxies and targets. Budgets are counted in images seen.

Order, caption dropout and drop-path are functions of (seed, image number), so a run that was
killed goes on exactly where it was, and a checkpoint holds no random state (after Karras et al.
2024, EDM2).
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import stateless
from alchemist.core.precision import autocast
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import load_optimiser, optimiser_tensors, over, under
from alchemist.models.encoded import Batch, Encoded
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.transformer import no_decay
from alchemist.settings.budget import TrainSettings

LOG_EVERY_STEPS = 25
M = TypeVar("M", bound=nn.Module)


def rows_at(rows: NDArray[np.int64], seed: int, first: int, count: int) -> NDArray[np.int64]:
    """The rows that stand at image numbers first .. first + count - 1 of a run over `rows`.

    Every epoch is a permutation of its own; a batch may cross from one epoch into the next.
    """
    numbers = np.arange(first, first + count)
    epochs = numbers // len(rows)
    picked = np.empty(count, dtype=np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        picked[here] = rows[_order(seed, int(epoch), len(rows))[numbers[here] % len(rows)]]
    return picked


_ORDERS: dict[tuple[int, int, int], NDArray[np.int64]] = {}


def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    # Kept for the epochs in use: a permutation of the pool is too dear to draw at every step.
    wanted = (seed, epoch, count)
    if wanted not in _ORDERS:
        if len(_ORDERS) >= 4:
            _ORDERS.pop(next(iter(_ORDERS)))
        _ORDERS[wanted] = stateless.epoch_order(seed, epoch, count)
    return _ORDERS[wanted]


def dropped_captions(rate: float, seed: int, first: int, count: int) -> NDArray[np.bool_]:
    """Which captions are dropped at these image numbers."""
    return stateless.uniforms(stateless.key("caption", seed), np.arange(first, first + count)) < rate


def drop_path(rate: float, depth: int, seed: int, first: int, count: int) -> Tensor | None:
    """Factors (count, depth, 2) of the residual branches: 0 or 1 / (1 - rate of the block)."""
    if rate == 0:
        return None
    rates = np.linspace(0, rate, depth)[None, :, None]
    numbers = np.arange(first, first + count)[:, None, None]
    u = stateless.uniforms(
        stateless.key("path", seed), numbers, np.arange(depth)[None, :, None], np.arange(2)[None, None]
    )
    return torch.from_numpy(((u >= rates) / (1 - rates)).astype(np.float32))


def learning_rate(settings: TrainSettings, seen: int) -> float:
    """The rate at `seen` images: linear warm-up, then constant, or linear down to a hundredth."""
    rate = settings.learning_rate * min(1.0, (seen + settings.batch) / max(settings.warmup_images, 1))
    if settings.schedule == "linear":
        left = 1 - (seen - settings.warmup_images) / max(settings.images - settings.warmup_images, 1)
        rate *= min(1.0, max(0.01, left))
    return rate


def optimiser(model: nn.Module, rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW, betas (0.9, 0.95), without decay on biases, embeddings and learned scales."""
    named = list(model.named_parameters())
    return torch.optim.AdamW(
        [
            {"params": [p for n, p in named if not no_decay(n, p)], "weight_decay": weight_decay},
            {"params": [p for n, p in named if no_decay(n, p)], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.95),
        fused=True,
    )


@dataclass(frozen=True)
class Point:
    """A checkpoint: at how many images, and what comparisons it serves."""

    images: int
    names: tuple[str, ...]


def points(settings: TrainSettings, retention: float) -> list[Point]:
    """Checkpoints of a cell, ascending, rounded up to whole batches.

    At `equal_images` every cell has seen the same images. At `equal_epochs` it has passed over
    its subset as often as the full-data run passes over the pool (the paper's comparison).
    """
    wanted: dict[int, list[str]] = {}
    named = [("equal_epochs", retention), ("equal_images", 1.0)]
    for name, share in named + [("curve", share) for share in settings.checkpoints]:
        images = -(-round(share * settings.images) // settings.batch) * settings.batch
        wanted.setdefault(images, []).append(name)
    return [
        Point(images, tuple(n for n in names if n != "curve" or len(names) == 1))
        for images, names in sorted(wanted.items())
    ]


class Average(Generic[M]):
    """Exponential average of a model's weights with a half-life in images.

    The half-life is at most a tenth of the images seen, so that early averages forget the start.
    """

    def __init__(self, model: M, half_life: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.half_life = half_life

    @torch.no_grad()
    def update(self, model: M, seen: int, batch: int) -> None:
        """Moves the average towards the model after a step of `batch` images."""
        half_life = min(self.half_life, seen / 10)
        keep = 0.5 ** (batch / half_life) if half_life > 0 else 0.0
        ours: list[Tensor] = list(self.model.parameters())
        theirs: list[Tensor] = list(model.parameters())
        torch._foreach_lerp_(ours, theirs, 1 - keep)


def train(
    generator: StarGenerator,
    data: Encoded,
    rows: NDArray[np.int64],
    settings: TrainSettings,
    seed: int,
    stops: list[int],
    scratch: Scratch,
    at_stop: Callable[[int, StarGenerator], None],
    tick: Callable[[int, str], object],
) -> list[dict[str, float]]:
    """Trains on `rows` until the last of `stops` (images seen), in place; returns the log.

    At every stop `at_stop` gets the images seen and the averaged model; a stop that was reached
    before a kill is not told again. `tick` hears of images and of the loss in words. A row of the
    log has images, epochs, loss (mean since the row before), rate, and seconds of all tries.
    """
    average = Average(generator, settings.ema_images)
    adam = optimiser(generator, settings.learning_rate, settings.weight_decay)
    seen, log, before = 0, list[dict[str, float]](), 0.0
    if held := scratch.load():
        tensors, facts = held
        seen, log, before = facts["images"], facts["log"], facts["seconds"]
        tick(seen, "resumed")
        generator.load_state_dict(under(tensors, "model"))
        average.model.load_state_dict(under(tensors, "average"))
        load_optimiser(adam, tensors, "adam")
    losses: list[Tensor] = []
    elapsed = clock()
    depth = generator.star.settings.depth
    while seen < stops[-1]:
        batch = data.batch(
            rows_at(rows, seed, seen, settings.batch),
            dropped_captions(settings.caption_dropout, seed, seen, settings.batch),
        )
        keep = drop_path(generator.star.settings.drop_path, depth, seed, seen, settings.batch)
        for group in adam.param_groups:
            group["lr"] = learning_rate(settings, seen)
        with autocast(settings.precision):
            loss = generator.losses(batch, keep).mean()
        if not torch.isfinite(loss):
            raise Refusal(diverged("train.learning_rate", settings.learning_rate, seen))
        adam.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(generator.parameters(), settings.clip)
        adam.step()
        seen += settings.batch
        average.update(generator, seen, settings.batch)
        losses.append(loss.detach())
        if seen in stops or len(losses) == LOG_EVERY_STEPS:
            mean = float(torch.stack(losses).mean())
            log.append(
                {
                    "images": seen,
                    "epochs": seen / len(rows),
                    "loss": mean,
                    "rate": learning_rate(settings, seen),
                    "seconds": before + elapsed(),
                }
            )
            tick(len(losses) * settings.batch, f"loss {mean:.3f}")
            losses.clear()
        if seen in stops:
            at_stop(seen, average.model)
        if (seen in stops and seen < stops[-1]) or scratch.due():
            scratch.save(
                {
                    **over(generator.state_dict(), "model"),
                    **over(average.model.state_dict(), "average"),
                    **optimiser_tensors(adam, "adam"),
                },
                {"images": seen, "log": log, "seconds": before + elapsed()},
            )
    return log


@torch.no_grad()
def forward_flops(losses: Callable[[Batch], object], pairs: Batch) -> float:
    """FLOPs a pair of a pass over `pairs`. Counted on equal pairs, since captions differ in length."""
    with FlopCounterMode(display=False) as counter:
        losses(pairs)
    return float(counter.get_total_flops()) / len(pairs)


def diverged(key: str, rate: float, images: int) -> str:
    """The sentence for a loss that is no number any more."""
    return f"The loss is not finite after {images} images; {key} is {rate}, try a smaller one."


def clock() -> Callable[[], float]:
    """Seconds since this call."""
    start = time.perf_counter()
    return lambda: time.perf_counter() - start
