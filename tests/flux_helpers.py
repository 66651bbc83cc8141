"""A tiny FLUX on 8-pixel images, and pairs for it."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from conftest import random_text

from alchemist.core import stateless
from alchemist.families.flux.codec import FluxCodec, PixelCodec
from alchemist.families.flux.generator import FluxGenerator
from alchemist.families.flux.settings import FluxSettings
from alchemist.models.batch import Batch
from alchemist.models.encoded import Encoded, Writer

TINY = FluxSettings(family="flux", double_blocks=1, single_blocks=1, heads=2, head_width=8, rope=(2, 2, 4))
SIDE = 8  # pixels: 4 tokens of 48 values


def images(count: int, seed: int = 0, side: int = SIDE) -> torch.Tensor:
    """uint8 (count, side, side, 3)."""
    rng = stateless.generator("flux images", seed)
    return torch.from_numpy(rng.integers(0, 256, (count, side, side, 3), dtype="uint8"))


def pairs(count: int, seed: int = 0, length: int = 6) -> Batch:
    return Batch({"pixels": images(count, seed)}, random_text(count, seed, length))


def write_pixels(folder: Path) -> Encoded:
    """120 encoded pairs of random pictures, all of the pool."""
    rows = pd.DataFrame({"id": [f"pair-{i:03d}" for i in range(120)], "split": "pool", "text": 1})
    rng = stateless.generator("pixels")
    with Writer(folder) as writer:
        writer.rows(rows.assign(lent=False, cluster=0))
        writer.append({"pixels": images(120).numpy()})
        writer.captions((rng.normal(size=(3, 384)).astype(np.float16), None) for _ in range(2))
    return Encoded(folder)


def stirred(settings: FluxSettings = TINY, codec: FluxCodec | None = None) -> FluxGenerator:
    """With weights everywhere: at the start all blocks are the identity and the output is zero."""
    generator = FluxGenerator(settings, codec or PixelCodec(SIDE), 0)
    rng = torch.Generator().manual_seed(1)
    for parameter in generator.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=rng)
    return generator
