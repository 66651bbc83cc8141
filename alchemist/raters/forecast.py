"""What a rater will cost, of settings alone: the counts of `meta_bill` and `proxy`, on torch's `meta`."""

from collections.abc import Callable
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.rater import SeededRater
from alchemist.models.batch import Batch, Chance
from alchemist.models.family import Generator
from alchemist.models.outline import META, alive_bytes, loss_flops
from alchemist.models.training import forward_flops
from alchemist.raters import steps
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import phases
from alchemist.raters.network import Rater, Weights

MANY = 64  # pairs of a pass whose bytes are more than those of parameters


def network(trunk: Callable[[], object]) -> Rater:
    """A rater on `meta` over a trunk that is made there."""
    with torch.device("meta"):
        return Rater(trunk(), 0)  # type: ignore[arg-type]


def train_flops(
    settings: SeededRater, budget: RateSettings, pairs: Batch, proxy: Callable[[], Generator],
    rater: Callable[[], Rater],
) -> float:  # fmt: skip
    """FLOPs of training a rater; `pairs` are a batch of the budget, which a fresh proxy and rater are run on.

    As `alchemist.raters.meta_bill` counts it of a kind meta; of others a backward pass costs twice a forward.
    """
    if not isinstance(settings, MetaRater):
        proxies = settings.proxies()
        return proxies * _plain_flops(proxy(), pairs) * budget.images if proxies else 0.0
    if settings.weights is not None:
        return 0.0
    warm = settings.reference_warmup or 0.0
    each = (1 - warm) * sum(
        share * _step_flops(settings, budget, pairs, proxy(), rater(), upper)
        for upper, share in phases(settings, budget).items()
    )
    return (each + warm * _plain_flops(proxy(), pairs) if warm else each) * budget.images


def score_flops(settings: SeededRater, pairs: Batch, proxy: Generator, rater: Rater) -> float:
    """FLOPs a pair of rating the pool with what was trained."""
    if isinstance(settings, MetaRater):
        return forward_flops(rater.features, pairs, training=False)
    passes = settings.passes() if settings.proxies() else 0
    return passes * loss_flops(proxy, pairs, training=False) if passes else 0.0


def copies(settings: MetaRater) -> float:
    """Bytes a parameter of the proxy that training a rater holds beside the proxy's own and its optimiser's.

    `reference`: a second model in training. Exact credits: parameters and gradients of each inner step, with
    Adam's moments if they are unrolled; the adjoint of three parts, its direction, and the Hessian's product.
    """
    if settings.credit == "reference":
        return 4 + 4 + 8
    if settings.credit == "alignment":
        return 4 + 4 + 3 * 4 + 4
    if settings.credit == "unrolled":
        return (settings.unroll_steps or 1) * (4 + 4 + 8) + 3 * 4 + 4 + 4
    return 0.0


def exact_bytes(
    settings: MetaRater, budget: RateSettings, pairs: Callable[[int], Batch], proxy: Generator, rater: Rater
) -> float:
    """Bytes a pair, in float32, that are alive at once in the passes of exact credits; 0 of the others.

    `pairs` makes a batch of so many. Forward mode holds every activation's tangent beside it, and runs on
    plain attention, which keeps its logits.
    """
    if settings.credit not in ("alignment", "unrolled"):
        return 0.0
    wide = 1 if settings.credit == "alignment" else 2  # which has the costliest pass
    state, most = steps.start(proxy, rater, settings, budget), []
    if settings.credit == "unrolled":  # Adam's moments
        steps.proxy_step(state, _window(pairs(1), 0.5, 0, 1)[0], torch.ones(1, device=META), budget)
    for count in (MANY, 2 * MANY):
        window = _window(pairs(count), 0.5, 0, wide)
        shares = torch.full((count,), 1 / count, device=META)
        weights = [Weights(shares, shares, shares.sum())] * wide
        run = partial(steps.exact_credits, state, window, weights, settings, budget.precision)
        most.append(alive_bytes(run, [], fused=False))
    return (most[1] - most[0]) / MANY


def _window(pairs: Batch, upper: float, first: int, wide: int) -> list[steps.Step]:
    """Steps number `first` and on, all on the same pairs."""
    count, window = len(pairs), []
    for step in range(first, first + wide):
        chance = Chance.run(0, 2 * step * count, 2 * count, training=True)
        window.append(steps.Step(pairs, pairs, upper, chance, chance[:count]))
    return window


def _step_flops(
    settings: MetaRater, budget: RateSettings, pairs: Batch, proxy: Generator, rater: Rater, upper: float
) -> float:
    """FLOPs an image at that u of a window that moves the rater, as the first of unrolled steps does not."""
    state = steps.start(proxy, rater, settings, budget)
    count, wide = len(pairs), settings.unroll_steps or 1
    counted = 0
    for number in range(2 if settings.credit == "unrolled" else 1):
        window = _window(pairs, upper, number * wide, wide)
        with FlopCounterMode(display=False) as counter:
            steps.meta_window(state, window, settings, budget)
        counted = counter.get_total_flops()
    return float(counted) / (wide * count)


def _plain_flops(proxy: Generator, pairs: Batch) -> float:
    """FLOPs an image of a plain step of the proxy."""
    return 3 * loss_flops(proxy, pairs, training=True)
