"""What a rater will cost, of settings alone: the counts of `meta_bill` and `proxy`, on torch's `meta`."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core.settings.budget import RateSettings
from alchemist.core.settings.rater import SeededRater
from alchemist.models.batch import Batch, Chance
from alchemist.models.family import Generator
from alchemist.models.outline import loss_flops
from alchemist.models.training import forward_flops
from alchemist.raters import steps
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Rater


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
    plain = 3 * loss_flops(proxy(), pairs, training=True)
    if not isinstance(settings, MetaRater):
        return settings.proxies() * plain * budget.images
    if settings.weights is not None:
        return 0.0
    warm = settings.reference_warmup or 0.0
    return (
        (1 - warm) * _step_flops(settings, budget, pairs, proxy(), rater()) + warm * plain
    ) * budget.images


def score_flops(settings: SeededRater, pairs: Batch, proxy: Generator, rater: Rater) -> float:
    """FLOPs a pair of rating the pool with what was trained."""
    if isinstance(settings, MetaRater):
        return forward_flops(rater.features, pairs, training=False)
    passes = settings.passes() if settings.proxies() else 0
    return passes * loss_flops(proxy, pairs, training=False) if passes else 0.0


def _step_flops(
    settings: MetaRater, budget: RateSettings, pairs: Batch, proxy: Generator, rater: Rater
) -> float:
    """FLOPs an image of the second window of steps; of unrolled ones, the first moves no rater."""
    state = steps.start(proxy, rater, settings, budget)
    count, wide = len(pairs), settings.unroll_steps or 1
    upper = min(settings.upper_weight, 1 - settings.upper_decay)  # below 1, as after the first epoch
    counted = []
    for number in range(2):
        window = []
        for step in range(number * wide, (number + 1) * wide):
            chance = Chance.run(0, 2 * step * count, 2 * count, training=True)
            window.append(steps.Step(pairs, pairs, upper, chance, chance[:count]))
        with FlopCounterMode(display=False) as counter:
            steps.meta_window(state, window, settings, budget)
        counted.append(counter.get_total_flops())
    return float(counted[1]) / (wide * count)
