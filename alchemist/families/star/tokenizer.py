"""Multi-scale residual vector quantisation of images (the tokenizer of STAR and VAR).

An image becomes one map of code indices a scale, coarse to fine; the feature map is the sum
of the up-sampled codes. Idea: Tian et al. 2024 (VAR), Ma et al. 2024 (STAR). The tiny networks
are our own. Layout of a token row: scale after scale, row-major inside a scale.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.families.star.pyramid import Pyramid, Sizes

WEIGHTS, CARD = "weights.safetensors", "card.json"


@dataclass(frozen=True)
class TokenizerConfig(Sizes):
    """Sizes: `resolution` in pixels, `scales` as sides of the code maps, the last one the grid's."""

    resolution: int = 32
    scales: tuple[int, ...] = (1, 2, 4, 8)
    codes: int = 1024
    channels: int = 16
    width: int = 128


def scales_for(resolution: int) -> tuple[int, ...]:
    """Sides 1, 2, 4, … up to the code grid, a quarter of the resolution: 32 pixels give 1, 2, 4, 8."""
    grid = resolution // 4
    return (*(1 << k for k in range(grid.bit_length()) if 1 << k < grid), grid)


def area_matrix(grid: int, side: int) -> Tensor:
    """The (side^2, grid^2) matrix that area-resizes a flattened grid x grid map."""
    basis = torch.eye(grid * grid).view(grid * grid, 1, grid, grid)
    return F.interpolate(basis, size=(side, side), mode="area").flatten(1).T.contiguous()


def bicubic_matrix(grid: int, side: int) -> Tensor:
    """The (grid^2, side^2) matrix that up-samples a flattened side x side map; identity at grid."""
    basis = torch.eye(side * side).view(side * side, 1, side, side)
    if side == grid:
        return basis.flatten(1).T.contiguous()
    return F.interpolate(basis, size=(grid, grid), mode="bicubic").flatten(1).T.contiguous()


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(8, width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(F.relu(self.norm(self.first(F.relu(x)))))


class Tokenizer(Pyramid):
    """Encoder, one codebook a scale, and a layered decoder.

    The decoder paints a foreground over a background that is the bilinear blend of four corner
    colours, through a mask that can be exactly zero: faint texture on flat areas, which plain
    decoders leave and which dominates the Fréchet distance, cannot arise there.
    """

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config: TokenizerConfig = config
        width = config.width
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(2),
            nn.Conv2d(12, 32, 3, padding=1),
            nn.ReLU(),
            nn.PixelUnshuffle(2),
            nn.Conv2d(128, width, 1),
            _Residual(width),
            _Residual(width),
            nn.Conv2d(width, config.channels, 1),
        )
        self.stem = nn.Sequential(
            nn.Conv2d(config.channels, width, 3, padding=1),
            _Residual(width),
            _Residual(width),
            _Residual(width),
        )
        self.corners = nn.Conv2d(width, 3, 1)
        painter = nn.Conv2d(32, 4, 3, padding=1)
        assert painter.bias is not None
        painter.bias.data[3:] = -2.0  # start from the background alone
        self.painter = nn.Sequential(
            nn.Conv2d(width, 4 * 48, 1),
            nn.PixelShuffle(2),
            nn.Conv2d(48, 48, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 4 * 32, 1),
            nn.PixelShuffle(2),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.ReLU(),
            painter,
        )
        grid = config.scales[-1]
        self.codebooks: Tensor
        self.register_buffer("codebooks", torch.randn(len(config.scales), config.codes, config.channels))
        for k, side in enumerate(config.scales):
            self.register_buffer(f"down_{k}", area_matrix(grid, side), persistent=False)
            self.register_buffer(f"up_{k}", bicubic_matrix(grid, side), persistent=False)

    def _down(self, k: int) -> Tensor:
        return self.get_buffer(f"down_{k}")

    def _up(self, k: int) -> Tensor:
        return self.get_buffer(f"up_{k}")

    def features(self, images: Tensor) -> Tensor:
        """(B, 3, R, R) in [-1, 1] to the (B, grid^2, channels) feature map, float32."""
        return self.encoder(images).float().flatten(2).transpose(1, 2)

    def nearest(self, k: int, vectors: Tensor) -> Tensor:
        """Index of the nearest code of scale k, by squared distance, for (..., channels) vectors."""
        book = self.codebooks[k]
        return (book.square().sum(1) - 2 * vectors @ book.T).argmin(-1)

    def codes_of(self, k: int, index: Tensor) -> Tensor:
        """Up-sampled codes of scale k: (B, side_k^2) indices to (B, grid^2, channels)."""
        return self._up(k) @ self.codebooks[k][index]

    def paint(self, total: Tensor) -> Tensor:
        """The (B, grid^2, channels) sum of codes to (B, 3, R, R) images, nominally in [-1, 1]."""
        grid = self.config.scales[-1]
        stem = self.stem(total.transpose(1, 2).unflatten(2, (grid, grid)))
        layers = self.painter(stem).float()
        corners = F.adaptive_avg_pool2d(self.corners(stem).float(), 2)
        # Corner colours sit at the picture's corners: linear grades are exact.
        back = F.interpolate(corners, size=layers.shape[-2:], mode="bilinear", align_corners=True)
        mask = (1.2 * layers[:, 3:].sigmoid() - 0.1).clamp(0, 1)
        return back + mask * (layers[:, :3] - back)

    def next_input(self, k: int, total: Tensor) -> Tensor:
        """A (B, grid^2, channels) map area-resized to scale k, (B, side_k^2, channels): its input tokens
        where the map is the codes of the scales below."""
        return self._down(k) @ total


def save(tokenizer: Pyramid, folder: Path, **facts: Any) -> None:
    """Writes weights.safetensors and card.json (sizes and facts) into a folder, and its manifest."""
    weights = {name: value.contiguous() for name, value in tokenizer.state_dict().items()}
    save_file(weights, folder / WEIGHTS)
    config: Any = tokenizer.config
    files.write_json(folder / CARD, {**facts, "config": asdict(config)})
    files.write_manifest(folder)


def card(folder: Path) -> dict[str, Any]:
    """What `save` wrote of a tokenizer. Raises Refusal where the folder's files are not what was written."""
    files.check_manifest(folder)
    found = files.read_json(folder / CARD) if (folder / CARD).is_file() else {}
    if "config" not in found or not (folder / WEIGHTS).is_file():
        raise Refusal(f"{folder} holds no tokenizer; it should be a folder that stage codec wrote.")
    return {**found, "config": {**found["config"], "scales": tuple(found["config"]["scales"])}}


def load(folder: Path) -> Tokenizer:
    """The frozen tokenizer of a folder. Raises Refusal where its files are not what was written."""
    tokenizer = Tokenizer(TokenizerConfig(**card(folder)["config"]))
    tokenizer.load_state_dict(load_file(folder / WEIGHTS))
    return tokenizer.eval().requires_grad_(False)
