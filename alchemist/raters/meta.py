"""Meta-training of the rater against a proxy (paper, eqs. 4 to 6, 9 and 10).

Every meta-gradient rule comes down to one coefficient a train sample, its credit c_i: the harm of
giving the sample more weight. One rater step uses them, sum_i W_i stopgrad(c_i). The rules:

- `penalty` (eq. 9): the proxy's own losses, which the proxy's step computes anyway.
- `reference` (eq. 6): the proxy's losses less those of a reference model that sees train pairs alone.
- `alignment`: the derivative of the validation loss through one plain step on the weighted train loss.
- `unrolled`: the same through K steps of the proxy's own optimiser (both in `alchemist.raters.credit`).
"""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.core.precision import autocast
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import load_optimiser, optimiser_tensors, over, under
from alchemist.models.encoded import Batch, Encoded
from alchemist.models.star.generator import Generator, StarGenerator
from alchemist.models.training import (
    clock,
    diverged,
    drop_path,
    dropped_captions,
    optimiser,
    rows_at,
)
from alchemist.raters import credit
from alchemist.raters.network import Rater, Reference, Weights, batch_ratings, batch_weights, rate
from alchemist.settings.budget import RateSettings
from alchemist.settings.rater import MetaRater

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


@dataclass(frozen=True)
class Step:
    """What one step of the proxy needs: its batches, u, and drop-path factors.

    `proxy_keep` holds those of the validation batch, then those of the train batch; `rater_keep` the
    rater's. None leaves every branch in.
    """

    validation: Batch
    train: Batch
    upper: float
    proxy_keep: Tensor | None = None
    rater_keep: Tensor | None = None

    @property
    def train_keep(self) -> Tensor | None:
        """The proxy's drop-path factors of the train batch."""
        return None if self.proxy_keep is None else self.proxy_keep.chunk(2)[1]


@dataclass(frozen=True)
class Outcome:
    """Of one proxy step: losses (B,) of both batches before it, the credits as used, and the weights.

    The credits themselves are `credit` times `scale`, which is 1 but for exact ones.
    """

    validation: Tensor
    train: Tensor
    credit: Tensor
    weights: Weights
    scale: float = 1.0


@dataclass
class MetaState:
    """The networks and their optimisers; the reference model is that of credit `reference` alone."""

    proxy: StarGenerator
    rater: Rater
    proxy_adam: torch.optim.Optimizer
    rater_adam: torch.optim.Optimizer
    reference: StarGenerator | None = None
    reference_adam: torch.optim.Optimizer | None = None
    scale: credit.Scale = field(default_factory=credit.Scale)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a resumed run needs."""
        held = {
            **over(self.proxy.state_dict(), "proxy"),
            **over(self.rater.state_dict(), "rater"),
            **optimiser_tensors(self.proxy_adam, "proxy_adam"),
            **optimiser_tensors(self.rater_adam, "rater_adam"),
            "scale": self.scale.state,
        }
        if self.reference is not None and self.reference_adam is not None:
            held |= over(self.reference.state_dict(), "reference")
            held |= optimiser_tensors(self.reference_adam, "reference_adam")
        return held

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts `tensors` back."""
        self.proxy.load_state_dict(under(tensors, "proxy"))
        self.rater.load_state_dict(under(tensors, "rater"))
        load_optimiser(self.proxy_adam, tensors, "proxy_adam")
        load_optimiser(self.rater_adam, tensors, "rater_adam")
        self.scale.state = tensors["scale"]
        if self.reference is not None and self.reference_adam is not None:
            self.reference.load_state_dict(under(tensors, "reference"))
            load_optimiser(self.reference_adam, tensors, "reference_adam")


def _descend(model: nn.Module, adam: torch.optim.Optimizer, loss: Tensor, clip: float) -> None:
    """One clipped step on a loss."""
    adam.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    adam.step()


def proxy_step(state: MetaState, step: Step, shares: Tensor, budget: RateSettings) -> tuple[Tensor, Tensor]:
    """One step on u L_val + (1 - u) sum_i W_i L_i; gives both batches' losses before it, detached."""
    with autocast(budget.precision):
        validation, train = proxy_losses(
            state.proxy, step.validation, step.train, step.upper, step.proxy_keep
        )
    loss = proxy_loss(validation, train, shares, step.upper)
    _descend(state.proxy, state.proxy_adam, loss, budget.clip)
    return validation.detach(), train.detach()


def proxy_step_from(state: MetaState, step: Step, slope: credit.Parameters, budget: RateSettings) -> Tensor:
    """The same step where the gradient `slope` of sum_i W_i L_i is at hand; gives the validation losses."""
    keep = None if step.proxy_keep is None else step.proxy_keep.chunk(2)[0]
    with autocast(budget.precision):
        validation = state.proxy.losses(step.validation, keep)
    state.proxy_adam.zero_grad(set_to_none=True)
    (step.upper * validation.mean()).backward()
    for name, parameter in state.proxy.named_parameters():
        share = (1 - step.upper) * slope[name]
        parameter.grad = share if parameter.grad is None else parameter.grad + share
    nn.utils.clip_grad_norm_(state.proxy.parameters(), budget.clip)
    state.proxy_adam.step()
    return validation.detach()


def reference_step(state: MetaState, step: Step, shares: Tensor, budget: RateSettings) -> Tensor:
    """One step of the reference model on sum_i W_i L_i alone; gives its losses before it, detached.

    It sees the proxy's drop-path factors, so that credits differ by the models alone.
    """
    assert state.reference is not None
    assert state.reference_adam is not None
    with autocast(budget.precision):
        losses = state.reference.losses(step.train, step.train_keep)
    _descend(state.reference, state.reference_adam, (shares.detach() * losses).sum(), budget.clip)
    return losses.detach()


class Losses(nn.Module):
    """The proxy's losses as a module's forward pass, which torch.func.functional_call wants."""

    def __init__(self, generator: StarGenerator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, batch: Batch, keep: Tensor | None) -> Tensor:
        """Losses (B,); `keep` are drop-path factors."""
        return self.generator.losses(batch, keep)


def inner_rule(
    adam: torch.optim.Optimizer, model: nn.Module
) -> tuple[credit.Sgd | credit.Adam, credit.Moments | None]:
    """An optimiser's next steps as functions, and its moments by parameter name (None before its first)."""
    rates = {group["lr"] for group in adam.param_groups}
    assert len(rates) == 1, "one rate for all parameters"
    rate = float(rates.pop())
    if not isinstance(adam, torch.optim.AdamW):
        return credit.Sgd(rate), None
    decay = {id(p): float(group["weight_decay"]) for group in adam.param_groups for p in group["params"]}
    named, group = dict(model.named_parameters()), adam.param_groups[0]
    rule = credit.Adam(rate, group["betas"], group["eps"], {n: decay[id(p)] for n, p in named.items()})
    if not all(adam.state.get(p) for p in named.values()):
        return rule, None
    mean = {n: adam.state[p]["exp_avg"] for n, p in named.items()}
    square = {n: adam.state[p]["exp_avg_sq"] for n, p in named.items()}
    return rule, credit.Moments(mean, square, int(next(iter(adam.state.values()))["step"]))


def exact_credits(
    state: MetaState, window: list[Step], weights: list[Weights], settings: MetaRater
) -> credit.Unrolled | None:
    """Credits of a window's train pairs from the proxy as it stands, or None where it has no moments yet.

    The inner steps are unclipped, on the weighted train loss alone, at the proxy's present rate, in
    float32, each with the drop-path factors of the proxy's own step. f is the mean loss of the
    window's last validation batch, which no step has seen yet, with every branch in. `alignment` takes
    a plain step; `unrolled` the steps of the proxy's optimiser. Adam's first step from zero moments has
    a derivative of about eps / |g|, which tells nothing: there the result is None.
    """
    rule, moments = inner_rule(state.proxy_adam, state.proxy)
    if settings.credit == "unrolled" and isinstance(rule, credit.Adam) and moments is None:
        return None
    module = Losses(state.proxy)
    prefix = "generator."

    def losses(parameters: credit.Parameters, item: tuple[Batch, Tensor | None]) -> Tensor:
        named = {prefix + name: value for name, value in parameters.items()}
        out: Tensor = torch.func.functional_call(module, named, item)
        return out

    parameters = {name: value.detach() for name, value in state.proxy.named_parameters()}
    batches = [(step.train, step.train_keep) for step in window]
    shares = [w.shares.detach() for w in weights]
    validation = (window[-1].validation, None)
    with credit.exact_arithmetic(window[0].train.tokens.device.type):
        if settings.credit == "alignment":
            return credit.alignment(losses, parameters, rule.rate, batches[0], shares[0], validation)
        return credit.unrolled(losses, parameters, moments, rule, batches, shares, validation)


def rater_step(state: MetaState, outcomes: list[Outcome], settings: MetaRater, clip: float) -> None:
    """One step of the rater on sum_t sum_i W_i (c_i - baseline) over a window's steps t.

    With the gate outside the softmax, positive credits have a trivial minimiser: a gate of zero,
    which stops the rater. For eq. 9 the proxy's validation loss is a baseline that it computes
    anyway; softmax weights do not see it, since a constant changes none of their gradients. The other
    credits have no such baseline and are mostly positive once the proxy has learned: they want a group
    without the outside gate.
    """
    losses = []
    for outcome in outcomes:
        baseline = outcome.validation.mean() if settings.baseline == "validation" else 0.0
        losses.append(rater_loss(outcome.weights.rating, outcome.credit - baseline))
    _descend(state.rater, state.rater_adam, torch.stack(losses).sum(), clip)


def meta_window(
    state: MetaState, window: list[Step], settings: MetaRater, budget: RateSettings
) -> list[Outcome]:
    """One step of the rater and len(window) steps of the proxy; gives the outcome of each.

    Only `unrolled` has windows of more than one step. Passes of B samples (F forward, Bk backward),
    beside F + Bk of the rater for each step; the proxy's own step takes F + Bk of both batches (F alone of
    the train batch while u = 1). `penalty`: no more. `reference`: F + Bk of the reference model.
    `alignment`, `unrolled`: those of `credit.unrolled`, less F + Bk of the first train batch, whose
    gradient the proxy's own step takes over. Nothing is computed twice.
    """
    weights = []
    for step in window:
        with autocast(budget.precision):
            features = state.rater.features(step.train, step.rater_keep)
        weights.append(batch_weights(state.rater, features, settings.group, settings.bound))
    exact = None
    if settings.credit in ("alignment", "unrolled"):
        exact = exact_credits(state, window, weights, settings)
    scale = 1.0 if exact is None else max(state.scale.update(torch.stack(exact.credits)), 1e-30)
    outcomes = []
    for t, (step, weight) in enumerate(zip(window, weights, strict=True)):
        if exact is not None and t == 0:
            train = exact.losses[0]
            validation = proxy_step_from(state, step, exact.gradient, budget)
        else:
            validation, train = proxy_step(state, step, weight.shares, budget)
        if settings.credit == "penalty":
            harms = train
        elif settings.credit == "reference":
            harms = train - reference_step(state, step, weight.shares, budget)
        else:
            harms = torch.zeros_like(train) if exact is None else exact.credits[t] / scale
        outcomes.append(Outcome(validation, train, harms, weight, scale))
    if settings.credit != "unrolled" or exact is not None:
        rater_step(state, outcomes, settings, budget.clip)
    return outcomes


def start(proxy: StarGenerator, rater: Rater, settings: MetaRater, budget: RateSettings) -> MetaState:
    """The networks with fresh optimisers and, for credit `reference`, a copy of the proxy."""

    def of_proxy(model: StarGenerator) -> torch.optim.Optimizer:
        return optimiser(model, budget.proxy_learning_rate, budget.weight_decay)

    state = MetaState(
        proxy, rater, of_proxy(proxy), optimiser(rater, budget.rater_learning_rate, budget.weight_decay)
    )
    if settings.credit == "reference":
        state.reference = copy.deepcopy(proxy)
        state.reference_adam = of_proxy(state.reference)
    return state


def take_over(state: MetaState) -> None:
    """theta := theta_hat: the proxy gets the reference's weights, and its optimiser starts afresh."""
    assert state.reference is not None
    state.proxy.load_state_dict(state.reference.state_dict())
    state.proxy_adam.state.clear()


def figures_of(outcome: Outcome) -> dict[str, float]:
    """The figures of one step that stand in the log; see meta_train."""
    shares, train = outcome.weights.shares.detach(), outcome.train
    harms = outcome.credit * outcome.scale
    return {
        "validation_loss": float(outcome.validation.mean()),
        "train_loss": float(train.mean()),
        "train_loss_sd": float(train.std()),
        "effective_sample_share": float(1 / shares.square().sum() / len(shares)),
        "weight_sd": float((len(shares) * shares).std(correction=0)),
        "gate": float(outcome.weights.gate.detach()),
        "weight_loss_correlation": correlation(shares, train),
        "credit_mean": float(harms.mean()),
        "credit_sd": float(harms.std()),
        "credit_scale": outcome.scale,
        "credit_loss_correlation": correlation(harms, train),
    }


def meta_train(
    proxy: StarGenerator,
    rater: Rater,
    data: Encoded,
    pool: NDArray[np.int64],
    validation: NDArray[np.int64],
    settings: MetaRater,
    seed: int,
    budget: RateSettings,
    scratch: Scratch,
    tick: Callable[[int, str], object],
) -> list[dict[str, float]]:
    """Trains proxy and rater in place on the rows of the pool and of the validation split.

    Every step takes one batch of either, whatever the credit, so that raters compare at an equal
    budget of images. What the credits make of a step:

    `reference`: for the first `reference_warmup` of the steps the reference model alone trains, plainly,
    on the train batches (eq. 4); then the proxy takes its weights over, with an optimiser of its own that
    starts afresh, and its schedule of u starts. From there the proxy takes the usual step and the
    reference a step on the weighted train loss; gamma lies in the rater's rate.
    `unrolled`: K steps form a window (the run's last may be shorter), with one step of the rater, so a run
    has a K-th of the rater steps. Its inner steps are virtual: they take the window's K train batches,
    then the proxy takes its K common steps on the same batches with the same weights. In the first
    window the rater rests, because the proxy's optimiser has no moments yet.

    The log it returns has, every few steps (none of the reference's warm-up): images, seconds, u, the mean
    losses, the effective sample size of the weights as a share of the batch, the standard deviation of
    B W over the batch (which is 1 on average), the gate, mean and standard deviation of the credits, what
    they were divided by for the rater's step, and how weights and credits correlate with the proxy's loss.
    Raises Refusal where a loss is not finite.
    """
    state = start(proxy, rater, settings, budget)
    size, steps = budget.batch, budget.images // budget.batch
    first, log, before = 0, list[dict[str, float]](), 0.0
    if held := scratch.load():
        state.load(held[0])
        first, log, before = held[1]["step"], held[1]["log"], held[1]["seconds"]
        tick(first * size, "resumed")
    elapsed = clock()
    train_seed = stateless.key("pool", seed)
    val_seed = stateless.key("validation", seed)
    warmup = int((settings.reference_warmup or 0.0) * steps)

    def at(number: int) -> Step:
        seen = number * size
        batches = [
            data.batch(
                rows_at(rows, key, seen, size), dropped_captions(budget.caption_dropout, key, seen, size)
            )
            for rows, key in ((validation, val_seed), (pool, train_seed))
        ]
        keeps = [
            drop_path(s.settings.drop_path, s.settings.depth, seed, 2 * seen, count)
            for s, count in ((proxy.star, 2 * size), (rater.trunk, size))
        ]
        upper = upper_weight(settings, max(number - warmup, 0), steps - warmup)
        return Step(batches[0], batches[1], upper, keeps[0], keeps[1])

    def begin(number: int) -> None:
        warmth = min(1.0, (number * size + size) / max(budget.warmup_images, 1))
        for adam, peak in (
            (state.proxy_adam, budget.proxy_learning_rate),
            (state.reference_adam, budget.proxy_learning_rate),
            (state.rater_adam, budget.rater_learning_rate),
        ):
            for group in adam.param_groups if adam is not None else []:
                group["lr"] = peak * warmth

    def finish(done: int, images: int, words: str, *figures: Tensor) -> None:
        if not all(bool(torch.isfinite(figure).all()) for figure in figures):
            raise Refusal(diverged("rate.proxy_learning_rate", budget.proxy_learning_rate, done * size))
        tick(images, words)
        if scratch.due():
            scratch.save(state.tensors(), {"step": done, "log": log, "seconds": before + elapsed()})

    for number in range(first, warmup):
        begin(number)
        losses = reference_step(state, at(number), torch.full((size,), 1 / size), budget)
        if number == warmup - 1:
            take_over(state)
        finish(number + 1, size, f"warm-up, train {float(losses.mean()):.3f}", losses)
    width = settings.unroll_steps or 1
    for number in range(max(first, warmup), steps, width):
        begin(number)
        window = [at(n) for n in range(number, min(number + width, steps))]
        outcomes = meta_window(state, window, settings, budget)
        for n, (step, outcome) in enumerate(zip(window, outcomes, strict=True), number):
            if n % LOG_EVERY_STEPS == 0 or n == steps - 1:
                row = {"images": n * size + size, "seconds": before + elapsed(), "upper_weight": step.upper}
                log.append(row | figures_of(outcome))
        last = outcomes[-1]
        words = f"val {float(last.validation.mean()):.3f}, train {float(last.train.mean()):.3f}"
        used = [figure for o in outcomes for figure in (o.validation, o.train, o.credit)]
        finish(number + len(window), len(window) * size, words, *used)
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
    reference: Reference | None,
    settings: MetaRater,
    batch: int,
    tick: Callable[[int], object],
) -> NDArray[np.float64]:
    """Ratings of the pool's rows, in their order, streamed: memory does not grow with the pool.

    Under rating_mode `batch` they depend on `batch`, on the order of rows and on every neighbour, as
    published, and `reference` is not used; the last batch, where smaller, gets larger shares.
    """
    ratings = []
    for start in range(0, len(pool), batch):
        features = pooled_features(rater, data, pool[start : start + batch], batch, tick)
        if settings.rating_mode == "batch":
            ratings.append(batch_ratings(rater, features))
        else:
            assert reference is not None
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
