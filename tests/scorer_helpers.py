"""A LiT scorer of a few composed pairs, and the pairs."""

from functools import cache

import numpy as np

from alchemist.core.settings.evaluation import ScorerSettings
from alchemist.pools.emoji import compose

SETTINGS = ScorerSettings(image_size=64, embed_dim=64, steps=120, batch=128, learning_rate=2e-3, seed=0)


@cache
def pairs(stream, count):
    made = [compose(7, stream, i, {"informative": 1.0}, 24, 32) for i in range(count)]
    return np.stack([pair.image for pair in made]), [pair.caption for pair in made]
