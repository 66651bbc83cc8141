"""FLOPs of training a meta-trained rater, counted on a trial of two windows of steps."""

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models.encoded import Encoded
from alchemist.models.family import Generator
from alchemist.models.training import forward_flops
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.meta import meta_train
from alchemist.raters.network import Rater
from alchemist.settings.budget import RateSettings


def train_flops(
    networks: Callable[[], tuple[Generator, Rater]],
    data: Encoded,
    settings: MetaRater,
    budget: RateSettings,
    scratch: Scratch,
) -> float:
    """FLOPs of a whole run of `budget.images`; `networks` makes a fresh proxy and rater on their device."""
    # While the reference model warms up, it alone trains; a backward pass costs twice a forward pass.
    warm = settings.reference_warmup or 0.0
    proxy, _ = networks()
    pairs = data.batch(data.pool().numbers[: budget.batch]).to(devices.of(proxy))
    plain = 3 * forward_flops(proxy.losses, pairs)
    each = (1 - warm) * _step_flops(networks, data, settings, budget, scratch) + warm * plain
    return each * budget.images


def _step_flops(
    networks: Callable[[], tuple[Generator, Rater]],
    data: Encoded,
    settings: MetaRater,
    budget: RateSettings,
    scratch: Scratch,
) -> float:
    """FLOPs an image of the pool after the warm-up: what a second window of steps adds, on trial networks."""
    window = settings.model_copy(
        update={
            "epochs": 1,
            "upper_weight": min(settings.upper_weight, 1 - settings.upper_decay),
            "reference_warmup": None if settings.reference_warmup is None else 0.0,
        }
    )
    images = budget.batch * (settings.unroll_steps or 1)
    counted = []
    for windows in (1, 2):  # of unrolled steps, the first moves no rater
        short = budget.model_copy(update={"images": windows * images})
        mark = fingerprint(of=scratch.mark, windows=windows)
        with (
            Scratch(scratch.folder.parent, mark) as trial,
            FlopCounterMode(display=False) as counter,
        ):
            rows = data.pool(), data.validation()
            meta_train(*networks(), data, *rows, window, 0, short, trial, lambda n, words: None)
            trial.clear()
        counted.append(counter.get_total_flops())
    return float(counted[1] - counted[0]) / images
