"""A second model family, for tests alone: flow matching on pixels, without tokens, likelihood or error norms.

It shares nothing with the first one but the protocol of `alchemist.models.family`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import devices, stateless
from alchemist.core.refusal import Refusal
from alchemist.models.batch import Batch, Chance, Text
from alchemist.models.family import Arrays, Codec, Family, Generator, Trunk
from alchemist.models.text import TEXT_WIDTH

SIDE = 8  # px
PIXELS = 3 * SIDE * SIDE


@dataclass(frozen=True)
class DenoiserSettings:
    """The size of a denoiser."""

    width: int = 32


@dataclass(frozen=True)
class EulerLaw:
    """How images are drawn: steps of the solver, and classifier-free guidance."""

    steps: int = 4
    guidance: float = 1.0


class PixelCodec(Codec):
    """Pixels as they are, in [-1, 1]."""

    digest = "pixels"

    def encode(self, images: NDArray[np.uint8]) -> Arrays:
        return {"pixels": (images.transpose(0, 3, 1, 2) / 127.5 - 1).astype(np.float16)}

    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return images


def normals(chance: Chance, device: torch.device) -> Tensor:
    """Gaussian noise (B, PIXELS), a function of (seed, position), by Box and Muller."""
    places = chance.positions[:, None], np.arange(PIXELS)[None]
    u, v = (stateless.uniforms(stateless.key(name, chance.seed), *places) for name in ("radius", "angle"))
    return devices.put((np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v)).astype(np.float32), device)


class Denoiser(Generator):
    """Predicts the velocity noise - image from a point between them and the pooled caption."""

    likelihood = None

    def __init__(self, settings: DenoiserSettings, codec: PixelCodec, seed: int) -> None:
        super().__init__()
        self.read = nn.Linear(PIXELS + 1 + TEXT_WIDTH, settings.width)
        self.write = nn.Linear(settings.width, PIXELS)
        rng = torch.Generator().manual_seed(stateless.key("denoiser", seed))
        for layer in (self.read, self.write):
            layer.weight.data = torch.randn(layer.weight.shape, generator=rng) / layer.in_features**0.5
            layer.bias.data.zero_()

    def velocity(self, x: Tensor, sigma: Tensor, text: Text) -> Tensor:
        out: Tensor = self.write(torch.tanh(self.read(torch.cat([x, sigma[:, None], text.pooled], 1))))
        return out

    def losses(self, batch: Batch, chance: Chance) -> Tensor:
        image = batch.inputs["pixels"].float().flatten(1)
        noise = normals(chance, image.device)
        level = stateless.uniforms(stateless.key("sigma", chance.seed), chance.positions)
        sigma = devices.put(level.astype(np.float32), image.device)
        between = (1 - sigma[:, None]) * image + sigma[:, None] * noise
        return (self.velocity(between, sigma, batch.text) - (noise - image)).float().square().mean(1)

    def error_norms(self, batch: Batch, chance: Chance) -> Tensor:
        raise Refusal("EL2N is defined for classifiers; a denoiser has none.")

    @torch.no_grad()
    def sample(self, captions: Text, null: Text, chance: Chance, law: EulerLaw) -> Tensor:
        x = normals(chance, captions.pooled.device)
        for step in range(law.steps):
            sigma = torch.full((len(x),), 1 - step / law.steps, device=x.device)
            given, empty = self.velocity(x, sigma, captions), self.velocity(x, sigma, null)
            x = x - (empty + law.guidance * (given - empty)) / law.steps
        return ((x.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).view(-1, 3, SIDE, SIDE)

    def decays(self, name: str, parameter: Tensor) -> bool:
        return parameter.ndim > 1


class DenoiserTrunk(Trunk):
    """Pixels and caption to a vector."""

    def __init__(self, settings: DenoiserSettings, codec: PixelCodec, seed: int) -> None:
        super().__init__()
        self.width = settings.width
        self.read = nn.Linear(PIXELS + TEXT_WIDTH, settings.width)
        rng = torch.Generator().manual_seed(stateless.key("trunk", seed))
        self.read.weight.data = torch.randn(self.read.weight.shape, generator=rng) / 16
        self.read.bias.data.zero_()

    def features(self, batch: Batch, chance: Chance) -> Tensor:
        image = batch.inputs["pixels"].float().flatten(1)
        return torch.tanh(self.read(torch.cat([image, batch.text.pooled], 1))).float()

    def decays(self, name: str, parameter: Tensor) -> bool:
        return parameter.ndim > 1


def open_codec(folder: Path, device: torch.device) -> PixelCodec:
    return PixelCodec()


FAMILY = Family("denoiser", open_codec, Denoiser, DenoiserTrunk)


def images(count: int) -> Any:
    """uint8 (count, SIDE, SIDE, 3), a function of the count alone."""
    return stateless.generator("second family", count).integers(
        0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8
    )
