"""What the transformer asks of an image tokenizer: maps of codes, coarse to fine, that sum to a feature map.

Layout of a token row: scale after scale, row-major inside a scale.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from alchemist.models.pixels import to_uint8


@dataclass(frozen=True)
class Sizes:
    """Pixels of an image's side, sides of the code maps (the last one the grid's), codes, and their width."""

    resolution: int
    scales: tuple[int, ...]
    codes: int
    channels: int

    @property
    def tokens(self) -> int:
        """Number of tokens of one image, L."""
        return sum(side * side for side in self.scales)


class Pyramid(nn.Module, ABC):
    """Residual quantisation over scales; a kind of tokenizer has its networks, and says what codes add."""

    config: Sizes

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to the (B, grid^2, channels) feature map, float32."""

    @abstractmethod
    def nearest(self, k: int, vectors: Tensor) -> Tensor:
        """Index of the nearest code of scale k, by squared distance, for (..., channels) vectors."""

    @abstractmethod
    def codes_of(self, k: int, index: Tensor) -> Tensor:
        """What the codes of scale k add to the map: (B, side_k^2) indices to (B, grid^2, channels)."""

    @abstractmethod
    def next_input(self, k: int, total: Tensor) -> Tensor:
        """A (B, grid^2, channels) map area-resized to scale k, (B, side_k^2, channels): its input tokens
        where the map is the codes of the scales below."""

    @abstractmethod
    def paint(self, total: Tensor) -> Tensor:
        """The (B, grid^2, channels) sum of codes to (B, 3, R, R) images, nominally in [-1, 1]."""

    def quantise(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        """Residual quantisation: the index maps [(B, side^2)] and the sum of their codes."""
        total = torch.zeros_like(features)
        maps = []
        for k in range(len(self.config.scales)):
            index = self.nearest(k, self.next_input(k, features - total))
            total = total + self.codes_of(k, index)
            maps.append(index)
        return maps, total

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to (B, L) token indices."""
        return torch.cat(self.quantise(self.features(images))[0], 1)

    def total(self, tokens: Tensor) -> Tensor:
        """(B, L) token indices to the (B, grid^2, channels) sum of their up-sampled codes."""
        maps = tokens.split([side * side for side in self.config.scales], 1)
        return torch.stack([self.codes_of(k, index) for k, index in enumerate(maps)]).sum(0)

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """(B, L) token indices to (B, 3, R, R) uint8 images."""
        return to_uint8(self.paint(self.total(tokens)))

    @torch.no_grad()
    def teacher_inputs(self, tokens: Tensor) -> Tensor:
        """Teacher-forcing inputs of scales 1..K-1, (B, L - side_0^2, channels), from tokens alone."""
        maps = tokens.split([side * side for side in self.config.scales], 1)
        total = torch.zeros(
            len(tokens), self.config.scales[-1] ** 2, self.config.channels, device=tokens.device
        )
        inputs = []
        for k, index in enumerate(maps[:-1]):
            total = total + self.codes_of(k, index)
            inputs.append(self.next_input(k + 1, total))
        return torch.cat(inputs, 1)
