"""Meta-training of the rater against a proxy (paper, eqs. 5, 9 and 10).

Every meta-gradient rule comes down to one coefficient a train sample, its credit c_i: the harm of
giving the sample more weight. One rater step uses them, sum_i W_i stopgrad(c_i). Only `penalty`
(eq. 9) is here: its credits are the proxy's own losses, which the proxy's step computes anyway.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist import stateless
from alchemist.encoded import Batch, Encoded
from alchemist.family import Generator, StarGenerator
from alchemist.precision import autocast
from alchemist.rater import Rater, Reference, Weights, batch_weights, rate
from alchemist.refusal import Refusal
from alchemist.scratch import Scratch
from alchemist.settings.budget import RateSettings
from alchemist.settings.rater import MetaRater
from alchemist.state import load_optimiser, optimiser_tensors, over, under
from alchemist.training import (
    clock,
    diverged,
    drop_path,
    dropped_captions,
    optimiser,
    rows_at,
)

LOG_EVERY_STEPS = 10


def upper_weight(settings: MetaRater, step: int, steps: int) -> float:
    """u, the weight of the validation loss in the proxy's step; 1 - u goes to the weighted train loss.

    It starts at `upper_weight` and falls by `upper_decay` at each of `epochs` equal parts of the
    run (the published schedule: 1.0, less 0.03 an epoch). While u is 1 the proxy sees validation
    pairs alone: that is the warm-up.
    """
    epoch = step * settings.epochs // steps
    return max(0.0, settings.upper_weight - settings.upper_decay * epoch)


def rater_loss(weights: Tensor, credit: Tensor) -> Tensor:
    """sum_i W_i c_i with the credits held fixed: descending it is eq. 9 when c_i = L_i."""
    return (weights * credit.detach()).sum()


def proxy_losses(
    proxy: StarGenerator, validation: Batch, train: Batch, upper: float, keep: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Per-sample losses of both batches. Train losses carry a graph only where it is needed."""
    both = keep.chunk(2) if keep is not None else (None, None)
    if upper < 1:
        losses = proxy.losses(joined(validation, train), keep)
        return losses[: len(validation)], losses[len(validation) :]
    with torch.no_grad():
        held = proxy.losses(train, both[1])
    return proxy.losses(validation, both[0]), held


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, 0 where one of the two is constant."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num())


def joined(first: Batch, second: Batch) -> Batch:
    """One batch of both, captions padded to the longer."""
    return Batch(torch.cat([first.tokens, second.tokens]), first.text.pair(second.text))


def proxy_loss(validation: Tensor, train: Tensor, shares: Tensor, upper: float) -> Tensor:
    """u L_val + (1 - u) (1/B) sum_i B W_i L_i: weights of mean one (eqs. 5 and 10)."""
    return upper * validation.mean() + (1 - upper) * (shares.detach() * train).sum()


@dataclass
class MetaState:
    """Both networks and both optimisers."""

    proxy: StarGenerator
    rater: Rater
    proxy_adam: torch.optim.Optimizer
    rater_adam: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs."""
        return {
            **over(self.proxy.state_dict(), "proxy"),
            **over(self.rater.state_dict(), "rater"),
            **optimiser_tensors(self.proxy_adam, "proxy_adam"),
            **optimiser_tensors(self.rater_adam, "rater_adam"),
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts `tensors` back."""
        self.proxy.load_state_dict(under(tensors, "proxy"))
        self.rater.load_state_dict(under(tensors, "rater"))
        load_optimiser(self.proxy_adam, tensors, "proxy_adam")
        load_optimiser(self.rater_adam, tensors, "rater_adam")


def meta_step(
    state: MetaState,
    validation: Batch,
    train: Batch,
    upper: float,
    settings: MetaRater,
    budget: RateSettings,
    keeps: tuple[Tensor | None, Tensor | None] = (None, None),
) -> tuple[Tensor, Tensor, Weights]:
    """One step of both networks; gives the validation losses, the credits and the weights.

    Passes: one forward and backward of the proxy over both batches (forward alone over the train
    batch while u = 1), one forward and backward of the rater. Nothing is computed twice.
    """
    with autocast(budget.precision):
        features = state.rater.features(train, keeps[1])
    weights = batch_weights(state.rater, features, settings.group, settings.bound)
    with autocast(budget.precision):
        losses, credit = proxy_losses(state.proxy, validation, train, upper, keeps[0])
    state.proxy_adam.zero_grad(set_to_none=True)
    proxy_loss(losses, credit, weights.shares, upper).backward()
    nn.utils.clip_grad_norm_(state.proxy.parameters(), budget.clip)
    state.rater_adam.zero_grad(set_to_none=True)
    # With the gate outside the softmax, positive credits have a trivial minimiser: a gate of zero,
    # which stops the rater. The proxy's validation loss is a baseline that it computes anyway;
    # softmax weights do not see it, since a constant changes none of their gradients.
    baseline = losses.detach().mean() if settings.baseline == "validation" else 0.0
    rater_loss(weights.rating, credit - baseline).backward()
    nn.utils.clip_grad_norm_(state.rater.parameters(), budget.clip)
    state.proxy_adam.step()
    state.rater_adam.step()
    return losses.detach(), credit.detach(), weights


def meta_train(
    proxy: StarGenerator,
    rater: Rater,
    data: Encoded,
    pool: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: MetaRater,
    budget: RateSettings,
    scratch: Scratch,
    tick: Callable[[int, str], object],
) -> list[dict[str, float]]:
    """Trains proxy and rater in place on the rows of the pool and of the validation split.

    The log it returns has, every few steps: images, seconds, u, the mean losses, the effective sample
    size of the weights as a share of the batch, the gate, and the correlation of weight and proxy loss.
    """
    state = MetaState(
        proxy,
        rater,
        optimiser(proxy, budget.proxy_learning_rate, budget.weight_decay),
        optimiser(rater, budget.rater_learning_rate, budget.weight_decay),
    )
    size, steps = budget.batch, budget.images // budget.batch
    first, log, before = 0, list[dict[str, float]](), 0.0
    if held := scratch.load():
        state.load(held[0])
        first, log, before = held[1]["step"], held[1]["log"], held[1]["seconds"]
        tick(first * size, "resumed")
    elapsed = clock()
    train_seed = stateless.key("pool", settings.seed)
    val_seed = stateless.key("validation", settings.seed)
    for step in range(first, steps):
        seen = step * size
        batches = [
            data.batch(
                rows_at(rows, seed, seen, size), dropped_captions(budget.caption_dropout, seed, seen, size)
            )
            for rows, seed in ((validation, val_seed), (pool, train_seed))
        ]
        keeps = tuple(
            drop_path(s.settings.drop_path, s.settings.depth, settings.seed, 2 * seen, count)
            for s, count in ((proxy.star, 2 * size), (rater.trunk, size))
        )
        warmth = min(1.0, (seen + size) / max(budget.warmup_images, 1))
        for adam, peak in (
            (state.proxy_adam, budget.proxy_learning_rate),
            (state.rater_adam, budget.rater_learning_rate),
        ):
            for group in adam.param_groups:
                group["lr"] = peak * warmth
        upper = upper_weight(settings, step, steps)
        losses, credit, weights = meta_step(
            state, batches[0], batches[1], upper, settings, budget, (keeps[0], keeps[1])
        )
        if not (torch.isfinite(losses).all() and torch.isfinite(credit).all()):
            raise Refusal(diverged("rate.proxy_learning_rate", budget.proxy_learning_rate, seen + size))
        if step % LOG_EVERY_STEPS == 0 or step == steps - 1:
            shares = weights.shares.detach()
            log.append(
                {
                    "images": seen + size,
                    "seconds": before + elapsed(),
                    "upper_weight": upper,
                    "validation_loss": float(losses.mean()),
                    "train_loss": float(credit.mean()),
                    "train_loss_sd": float(credit.std()),
                    "effective_sample_share": float(1 / shares.square().sum() / size),
                    "gate": float(weights.gate.detach()),
                    "weight_loss_correlation": correlation(shares, credit),
                }
            )
        tick(size, f"val {float(losses.mean()):.3f}, train {float(credit.mean()):.3f}")
        if scratch.due():
            scratch.save(state.tensors(), {"step": step + 1, "log": log, "seconds": before + elapsed()})
    return log


@torch.no_grad()
def pooled_features(
    rater: Rater, data: Encoded, rows: NDArray[np.int64], batch: int, tick: Callable[[int], object]
) -> Tensor:
    """Pooled features (N, C) of rows in evaluation mode: no caption dropout, no drop-path, float32."""
    parts = []
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        parts.append(rater.features(data.batch(chosen)))
        tick(len(chosen))
    return torch.cat(parts)


def digest(features: Tensor) -> str:
    """sha256 of the reference group's features, stored beside the ids of its members."""
    return hashlib.sha256(features.numpy().tobytes()).hexdigest()


def reference_rows(pool: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """The rows of the reference group: a draw from the pool that depends on the seed alone."""
    count = min(count, len(pool))
    return np.sort(stateless.generator("reference", seed).choice(pool, count, replace=False))


def rate_pool(
    rater: Rater,
    data: Encoded,
    pool: NDArray[np.int64],
    reference: Reference,
    settings: MetaRater,
    batch: int,
    tick: Callable[[int], object],
) -> NDArray[np.float64]:
    """Ratings of the pool's rows, in their order, streamed: memory does not grow with the pool."""
    ratings = []
    for start in range(0, len(pool), batch):
        features = pooled_features(rater, data, pool[start : start + batch], batch, tick)
        ratings.append(rate(rater, features, reference, settings.group, settings.bound))
    return np.concatenate(ratings)


@torch.no_grad()
def pool_losses(
    proxy: Generator, data: Encoded, rows: NDArray[np.int64], batch: int, tick: Callable[[int], object]
) -> NDArray[np.float64]:
    """Losses of rows in evaluation mode, float32 products; nats a token for STAR."""
    losses = []
    for start in range(0, len(rows), batch):
        chosen = rows[start : start + batch]
        losses.append(proxy.losses(data.batch(chosen)).double().numpy())
        tick(len(chosen))
    return np.concatenate(losses)
