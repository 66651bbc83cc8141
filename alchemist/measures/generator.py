"""What one generator draws, a batch at a time, and its loss on pairs that it never saw."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from alchemist.core import devices
from alchemist.core.settings import Settings
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.models import losses
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded, EvaluationRows
from alchemist.models.family import Generator, Tick

Images = NDArray[np.uint8]


def generate(
    generator: Generator,
    data: Encoded,
    rows: EvaluationRows,
    law: Settings,
    settings: EvaluateSettings,
    tick: Tick,
) -> Iterator[Images]:
    """One image a prompt, in batches (B, R, R, 3); prompt number i has the noise of (settings.seed, i)."""
    device = devices.of(generator)
    for start in range(0, len(rows), settings.batch):
        chosen = rows.numbers[start : start + settings.batch]
        captions = data.batch(chosen).text
        null = data.null(len(chosen), captions.states.shape[1])
        chance = Chance.run(settings.seed, start, len(chosen))
        with torch.no_grad(), devices.autocast("auto", device):
            images = generator.sample(captions.to(device), null.to(device), chance, law)
        yield np.ascontiguousarray(devices.host(images.permute(0, 2, 3, 1)))
        tick(len(chosen))


def held_out_losses(
    generator: Generator, data: Encoded, rows: EvaluationRows, batch: int
) -> NDArray[np.float64]:
    """Losses (n,) of the prompts' own pairs, float32: their mean is the NLL where they are likelihoods.

    Their unit is `generator.likelihood`. The chance of a pair is (0, a hash of its id). Raises Refusal, with
    the ids, where some are not finite.
    """
    return losses.of_pairs(generator, data, rows.numbers, batch, "held-out loss")
