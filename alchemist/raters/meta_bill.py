"""FLOPs of training a meta-trained rater, counted on a trial of two windows of steps."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, world
from alchemist.core.fingerprint import fingerprint
from alchemist.core.scratch import Scratch
from alchemist.models.training import forward_flops
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import meta_train, phases
from alchemist.raters.network import Rater
from alchemist.raters.proxy import Plain


def train_flops(run: Plain, settings: MetaRater, network: Callable[[int], Rater]) -> float:
    """FLOPs of a whole run of `budget.images`; `network` makes a fresh rater of a seed on its device."""
    # While the reference model warms up, it alone trains; a backward pass costs twice a forward pass.
    warm, proxy = settings.reference_warmup or 0.0, run.proxy(0)
    world.check(run.budget.batch, "rate.batch")
    pairs = run.data.batch(run.pool.numbers[: run.budget.batch]).to(devices.of(proxy))
    pairs = pairs[world.mine(len(pairs))]
    plain = 3 * forward_flops(proxy.losses, pairs, training=True)
    parts = phases(settings, run.budget).items()
    behind = sum(share * _step_flops(run, settings, network, upper) for upper, share in parts)
    each = (1 - warm) * behind + warm * plain
    return each * run.budget.images


def _step_flops(run: Plain, settings: MetaRater, network: Callable[[int], Rater], upper: float) -> float:
    """FLOPs an image of the pool at that u: what a second window of steps adds, on trial networks."""
    window = settings.model_copy(
        update={
            "epochs": 1,
            "upper_weight": upper,
            "reference_warmup": None if settings.reference_warmup is None else 0.0,
        }
    )
    images = run.budget.batch * (settings.unroll_steps or 1)
    counted = []
    for windows in (1, 2):  # of unrolled steps, the first moves no rater
        short = run.budget.model_copy(update={"images": windows * images})
        mark = fingerprint(of=run.scratch.mark, windows=windows, upper=upper)
        with (
            Scratch(run.scratch.folder.parent, mark, math.inf) as trial,  # one that went on would count less
            FlopCounterMode(display=False) as counter,
        ):
            one = replace(run, seed=0, budget=short, scratch=trial, trained=lambda n, words: None)
            meta_train(one, window, network(0))
            trial.clear()
        counted.append(counter.get_total_flops())
    device = devices.of(run.proxy(0))
    each = torch.tensor(counted[1] - counted[0], dtype=torch.float64, device=device)
    world.sum_([each])  # each process counts what it passes itself
    return float(each) / images
