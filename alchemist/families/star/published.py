"""The tokenizer that VAR published and STAR uses: 108,948,355 parameters, one code map place for 16 pixels.

Architecture: Tian et al. 2024 (VAR), Esser et al. 2021 (its encoder and decoder). One codebook for all
scales, and four convolutions phi that smooth what the codes of a scale add.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from alchemist.core import devices
from alchemist.families.star import tokenizer
from alchemist.families.star.pyramid import Pyramid, Sizes

SCALES = {  # sides of the code maps by pixels of a side
    256: (1, 2, 3, 4, 5, 6, 8, 10, 13, 16),
    512: (1, 2, 3, 4, 6, 9, 13, 18, 24, 32),
    1024: (1, 2, 3, 4, 5, 7, 9, 12, 16, 21, 27, 36, 48, 64),
}
# Which phi a scale uses: that whose tick in linspace(1/12, 11/12, 4) is nearest to k / (K - 1). Scales 2 and
# 7 of 10 lie between two ticks, where rounding alone decides: the tables are what the published weights mean.
PHI = {
    6: (0, 0, 1, 2, 3, 3),
    10: (0, 0, 1, 1, 1, 2, 2, 3, 3, 3),
    14: (0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3),
}
KIND = "published"  # in the card of a folder
LEVELS = (1, 1, 2, 2, 4)  # widths of the resolutions, fine to coarse, as multiples of the first
BLOCKS = 2  # of a level of the encoder; the decoder has one more
AT_ONCE = 16 * 256 * 256  # pixels through the networks: at the published width 0.7 GB a map of activations


@dataclass(frozen=True)
class PublishedConfig(Sizes):
    """Sizes; as published but for `resolution` and `scales`, which go together."""

    resolution: int = 256
    scales: tuple[int, ...] = SCALES[256]
    codes: int = 4096
    channels: int = 32
    width: int = 160


class _Residual(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = _norm(before), _conv(before, width)
        self.norm2, self.conv2 = _norm(width), _conv(width, width)
        self.skip = nn.Conv2d(before, width, 1) if before != width else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        out: Tensor = self.skip(x) + inner
        return out


class _Attention(nn.Module):
    """Over all places of the map, with one head."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = _norm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).flatten(2).transpose(1, 2).chunk(3, -1)  # (B, places, width)
        read = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
        out: Tensor = x + self.out(read.transpose(1, 2).unflatten(2, x.shape[-2:]))
        return out


class _Level(nn.Module):
    """Residual blocks, at the coarsest level each with an attention behind it, and the resizing."""

    def __init__(self, before: int, width: int, blocks: int, coarsest: bool, resize: nn.Module) -> None:
        super().__init__()
        widths = [before, *[width] * (blocks - 1)]
        self.blocks = nn.ModuleList(_Residual(one, width) for one in widths)
        self.attentions = nn.ModuleList(
            _Attention(width) if coarsest else nn.Identity() for _ in range(blocks)
        )
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        for block, attention in zip(self.blocks, self.attentions, strict=True):
            x = attention(block(x))
        out: Tensor = self.resize(x)
        return out


def _norm(width: int) -> nn.GroupNorm:
    return nn.GroupNorm(32, width, eps=1e-6)


def _conv(before: int, width: int) -> nn.Conv2d:
    return nn.Conv2d(before, width, 3, padding=1)


def _middle(width: int) -> nn.Sequential:
    return nn.Sequential(_Residual(width, width), _Attention(width), _Residual(width, width))


def _halve(width: int) -> nn.Sequential:
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(width, width, 3, stride=2))


def _double(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), _conv(width, width))


class _Encoder(nn.Sequential):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.stem = _conv(3, width)
        widths, last = [width * times for times in LEVELS], len(LEVELS) - 1
        befores = [width, *widths]
        self.levels = nn.Sequential(
            *(
                _Level(befores[i], w, BLOCKS, i == last, _halve(w) if i < last else nn.Identity())
                for i, w in enumerate(widths)
            )
        )
        self.middle = _middle(widths[-1])
        self.end = nn.Sequential(_norm(widths[-1]), nn.SiLU(), _conv(widths[-1], channels))


class _Decoder(nn.Sequential):
    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        widths, last = [width * times for times in reversed(LEVELS)], len(LEVELS) - 1  # coarse to fine
        befores = [widths[0], *widths]
        self.stem = _conv(channels, widths[0])
        self.middle = _middle(widths[0])
        self.levels = nn.Sequential(
            *(
                _Level(befores[i], w, BLOCKS + 1, i == 0, _double(w) if i < last else nn.Identity())
                for i, w in enumerate(widths)
            )
        )
        self.end = nn.Sequential(_norm(width), nn.SiLU(), _conv(width, 3))


class PublishedTokenizer(Pyramid):
    """The networks, the codebook (codes, channels) and phi; in float32 whatever autocasting is in force."""

    def __init__(self, config: PublishedConfig) -> None:
        super().__init__()
        self.config: PublishedConfig = config
        self.encoder = _Encoder(config.width, config.channels)
        self.decoder = _Decoder(config.width, config.channels)
        self.before = _conv(config.channels, config.channels)
        self.after = _conv(config.channels, config.channels)
        self.codebook = nn.Parameter(torch.randn(config.codes, config.channels))
        self.phi = nn.ModuleList(_conv(config.channels, config.channels) for _ in range(4))

    def features(self, images: Tensor) -> Tensor:
        """See Pyramid.features."""
        with devices.autocast("fp32", images.device):
            mapped: Tensor = self.before(self.encoder(images.float()))
        return mapped.flatten(2).transpose(1, 2)

    def nearest(self, k: int, vectors: Tensor) -> Tensor:
        """See Pyramid.nearest."""
        with devices.autocast("fp32", vectors.device):
            return (self.codebook.square().sum(1) - 2 * vectors @ self.codebook.T).argmin(-1)

    def codes_of(self, k: int, index: Tensor) -> Tensor:
        """See Pyramid.codes_of: phi(e) = e / 2 + conv(e) / 2 of the up-sampled codes e."""
        side, grid = self.config.scales[k], self.config.scales[-1]
        with devices.autocast("fp32", index.device):
            coded = self.codebook[index].transpose(1, 2).unflatten(2, (side, side))
            if side < grid:
                coded = F.interpolate(coded, size=(grid, grid), mode="bicubic")
            phi = self.phi[PHI[len(self.config.scales)][k]]
            return (0.5 * coded + 0.5 * phi(coded)).flatten(2).transpose(1, 2)

    def next_input(self, k: int, total: Tensor) -> Tensor:
        """See Pyramid.next_input."""
        side, grid = self.config.scales[k], self.config.scales[-1]
        if side == grid:
            return total
        mapped = total.transpose(1, 2).unflatten(2, (grid, grid))
        return F.interpolate(mapped, size=(side, side), mode="area").flatten(2).transpose(1, 2)

    def paint(self, total: Tensor) -> Tensor:
        """See Pyramid.paint."""
        grid = self.config.scales[-1]
        with devices.autocast("fp32", total.device):
            images: Tensor = self.decoder(self.after(total.transpose(1, 2).unflatten(2, (grid, grid))))
        return images

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """See Pyramid.encode; a few images at once."""
        return torch.cat([Pyramid.encode(self, part) for part in images.split(self._at_once())])

    @torch.no_grad()
    def decode(self, tokens: Tensor) -> Tensor:
        """See Pyramid.decode; a few images at once."""
        return torch.cat([Pyramid.decode(self, part) for part in tokens.split(self._at_once())])

    def _at_once(self) -> int:
        return max(1, AT_ONCE // self.config.resolution**2)


def load(folder: Path) -> PublishedTokenizer:
    """The frozen tokenizer of a folder that `checkpoint` wrote. Raises Refusal where its files are others."""
    config = PublishedConfig(**tokenizer.card(folder)["config"])
    with torch.device("meta"):
        found = PublishedTokenizer(config)
    found.load_state_dict(load_file(folder / tokenizer.WEIGHTS), assign=True)
    return found.eval().requires_grad_(False)
