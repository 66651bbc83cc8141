"""The run that trains a rater: a schedule of u, batches of both splits, a log, resumption."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import devices, stateless, world
from alchemist.core.progress import RESUMED
from alchemist.core.refusal import Refusal
from alchemist.core.settings.budget import RateSettings
from alchemist.core.state import all_finite
from alchemist.models.batch import Batch, Chance
from alchemist.models.encoded import Rows
from alchemist.models.training import dropped_captions, not_finite, numbers_at
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater
from alchemist.raters.proxy import Plain
from alchemist.raters.steps import (
    MetaState,
    Outcome,
    Step,
    meta_window,
    reference_step,
    start,
    take_over,
)

LOG_EVERY_STEPS = 10


def upper_weight(settings: MetaRater, step: int, steps: int) -> float:
    """u, the weight of the validation loss in the proxy's step; 1 - u goes to the weighted train loss.

    It starts at `upper_weight` and falls by `upper_decay` at each of `epochs` equal parts of the
    run (the published schedule: 1.0, less 0.03 an epoch). While u is 1 the proxy sees validation
    pairs alone: the published warm-up.
    """
    epoch = step * settings.epochs // steps
    return max(0.0, settings.upper_weight - settings.upper_decay * epoch)


def phases(settings: MetaRater, budget: RateSettings) -> dict[float, float]:
    """A u of 1, or one below it, and the share of the steps behind the warm-up that have such a u.

    A step costs less at a u of 1, where the proxy's has no part of the train batch.
    """
    steps = budget.images // budget.batch - warmup_steps(settings, budget)
    every = [upper_weight(settings, step, steps) for step in range(steps)]
    ones = every.count(1.0) / steps
    return {upper: share for upper, share in ((1.0, ones), (min(every), 1 - ones)) if share}


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's, 0 where one of the two is constant."""
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1].nan_to_num())


def figures_of(outcome: Outcome) -> dict[str, float]:
    """The figures of one step that stand in the log; see meta_train."""
    shares, train = outcome.weights.shares.detach(), outcome.train
    credits = outcome.credit * outcome.scale.to(outcome.credit.dtype)
    return {
        "validation_loss": float(outcome.validation.mean()),
        "train_loss": float(train.mean()),
        "train_loss_sd": float(train.std()),
        "effective_sample_share": float(1 / shares.square().sum() / len(shares)),
        "weight_sd": float((len(shares) * shares).std(correction=0)),
        "gate": float(outcome.weights.gate.detach()),
        "weight_loss_correlation": correlation(shares, train),
        "credit_mean": float(credits.mean()),
        "credit_sd": float(credits.std()),
        "credit_scale": float(outcome.scale),
        "credit_loss_correlation": correlation(credits, train),
    }


def step_at(run: Plain, settings: MetaRater, number: int, device: torch.device) -> Step:
    """Step `number` of a run: a function of the seed and that number, whatever was run before."""
    seed, budget = run.seed, run.budget
    size, steps = budget.batch, budget.images // budget.batch
    seen, warmup = number * size, warmup_steps(settings, budget)

    def batch(part: str) -> Batch:
        dropped = dropped_captions(budget.caption_dropout, stateless.key(part, seed), seen, size)
        return run.data.batch(numbers_of(run, part, number), dropped).to(device)

    return Step(
        validation=batch("validation"),
        train=batch("pool"),
        upper=upper_weight(settings, max(number - warmup, 0), steps - warmup),
        proxy_chance=Chance.run(seed, 2 * seen, 2 * size, training=True),
        rater_chance=Chance.run(seed, 2 * seen, size, training=True),
    )


def numbers_of(run: Plain, part: str, number: int) -> NDArray[np.int64]:
    """Row numbers of the batch of step `number`, of the part `pool` or `validation`.

    Under groups `compared` and `within` those of the pool are some groups' behind one another.
    """
    size = run.budget.batch
    if part == "pool" and run.groups is not None:
        return run.groups.numbers_at(run.seed, number, size)
    rows: Rows = run.pool if part == "pool" else run.validation
    return numbers_at(rows, stateless.key(part, run.seed), number * size, size)


def warmup_steps(settings: MetaRater, budget: RateSettings) -> int:
    """Steps at the start of a run in which the reference model alone trains."""
    return int((settings.reference_warmup or 0.0) * (budget.images // budget.batch))


def meta_train(run: Plain, settings: MetaRater, rater: Rater) -> list[dict[str, float]]:
    """Trains the rater in place, and a proxy of the run's seed, on the pool and the validation split.

    Every step takes one batch of either, whatever the credit, so that raters compare at an equal
    budget of images. For the first `reference_warmup` of the steps, where there is one, the reference model
    alone trains, plainly, on the train batches (eq. 4); then the proxy takes its weights over, with an
    optimiser that starts afresh, and its schedule of u starts. What the credits make of a step from there:

    `reference`: the proxy takes the usual step and the reference model a step on the weighted train loss;
    gamma lies in the rater's rate.
    `unrolled`: K steps form a window (the run's last may be shorter), with one step of the rater, so a run
    has a K-th of the rater steps. Its inner steps are virtual: they take the window's K train batches,
    then the proxy takes its K common steps on the same batches with the same weights. In the first
    window the rater rests, because the proxy's optimiser has no moments yet.

    The log it returns has, every few steps (none of the reference's warm-up): images, seconds, u, the mean
    losses, the effective sample size of the weights as a share of the batch, the standard deviation of
    B W over the batch (which is 1 on average), the gate (see `network.Weights`), mean and standard deviation
    of the credits, what they were divided by for the rater's step, and how weights and credits correlate with
    the proxy's loss.
    Raises Refusal where a loss, a credit, a gradient or a weight is not finite, with the ids of its pairs.
    """
    budget, scratch = run.budget, run.scratch
    world.check(budget.batch, "rate.batch")
    state = start(run.proxy(run.seed), rater, settings, budget)
    device, size, steps = state.device, budget.batch, budget.images // budget.batch
    warmup = warmup_steps(settings, budget)

    # --- where a killed run stood
    first, log, before = 0, list[dict[str, float]](), 0.0
    if saved := scratch.load():
        state.load(saved[0])
        first, log, before = saved[1]["step"], saved[1]["log"], saved[1]["seconds"]
        run.trained(first * size, RESUMED)
    elapsed = devices.clock(device)

    # --- the reference model's warm-up (eq. 4)
    for number in range(first, warmup):
        _set_rates(state, budget, number)
        step = step_at(run, settings, number, device)
        losses = reference_step(state, step, torch.full((size,), 1 / size, device=device), budget)
        if number == warmup - 1:
            take_over(state)
        _check_finite(run, number, [("loss", "pool", losses)], state.taken_norms())
        run.trained(size, f"warm-up, train {float(losses.mean()):.3f}")
        if scratch.due():
            _save(run, state, number + 1, log, before + elapsed())

    # --- windows of steps: one of the rater, K of the proxy
    width = settings.unroll_steps or 1
    for number in range(max(first, warmup), steps, width):
        _set_rates(state, budget, number)
        window = [step_at(run, settings, n, device) for n in range(number, min(number + width, steps))]
        outcomes = meta_window(state, window, settings, budget)
        for n, (step, outcome) in enumerate(zip(window, outcomes, strict=True), number):
            if n % LOG_EVERY_STEPS == 0 or n == steps - 1:
                row = {"images": n * size + size, "seconds": before + elapsed(), "upper_weight": step.upper}
                log.append(row | figures_of(outcome))
        done, last = number + len(window), outcomes[-1]
        norms = state.taken_norms()
        for n, outcome in enumerate(outcomes, number):
            found = [("loss", "validation", outcome.validation), ("loss", "pool", outcome.train)]
            found.append(("credit", "pool", outcome.credit))
            _check_finite(run, n, found, norms if n == done - 1 else {})
        words = f"val {float(last.validation.mean()):.3f}, train {float(last.train.mean()):.3f}"
        run.trained(len(window) * size, words)
        if scratch.due():
            _save(run, state, done, log, before + elapsed())
    return log


def _set_rates(state: MetaState, budget: RateSettings, number: int) -> None:
    """Every optimiser's rate at a step: a linear warm-up, then constant."""
    warmth = min(1.0, (number * budget.batch + budget.batch) / max(budget.warmup_images, 1))
    for adam, peak in (
        (state.proxy_adam, budget.proxy_learning_rate),
        (state.reference_adam, budget.proxy_learning_rate),
        (state.rater_adam, budget.rater_learning_rate),
    ):
        for group in adam.param_groups if adam is not None else []:
            group["lr"] = peak * warmth


def _check_finite(
    run: Plain, number: int, found: list[tuple[str, str, Tensor]], norms: dict[str, Tensor]
) -> None:
    """Figures (B,) of step `number`, by what they are and the split of their pairs, and gradients' norms."""
    held = [torch.isfinite(values).all() for values in (*(values for *_, values in found), *norms.values())]
    if torch.stack(held).all():
        return
    budget, size = run.budget, run.budget.batch

    def ids(split: str) -> list[str]:
        chosen: list[str] = run.data.rows["id"].iloc[numbers_of(run, split, number)].tolist()
        return chosen

    def advice(of: str, rate: float) -> str:
        return f"rate.{of}_learning_rate is {rate}, try a smaller one"

    of_proxy = advice("proxy", budget.proxy_learning_rate)
    for what, split, values in found:
        if not torch.isfinite(values).all():
            raise Refusal(not_finite(number, devices.host(values), ids(split), what, what, of_proxy))
    first = next(name for name, norm in norms.items() if not torch.isfinite(norm))
    told = advice("rater", budget.rater_learning_rate) if first == "rater" else of_proxy
    raise Refusal(not_finite(number, np.zeros(size), ids("pool"), "loss", f"gradient of the {first}", told))


def _save(run: Plain, state: MetaState, done: int, log: list[dict[str, float]], seconds: float) -> None:
    """A state that a killed run goes on from: never one with a NaN in it."""
    tensors, budget = state.tensors(), run.budget
    if not all_finite(tensors.values()):
        raise Refusal(
            f"the weights are not finite after {done * budget.batch} images; rate.proxy_learning_rate is "
            f"{budget.proxy_learning_rate} and rate.rater_learning_rate {budget.rater_learning_rate}, try "
            "smaller ones."
        )
    run.scratch.save(tensors, {"step": done, "log": log, "seconds": seconds})
