"""Images to the tokens that FLUX models, and back: pixels at the tiny sizes, a frozen autoencoder at its own.

The latent grid is (C, H, W); 2 x 2 of its cells are a token.
"""

from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import devices, files
from alchemist.core.refusal import Refusal
from alchemist.core.weights import find
from alchemist.families.flux.settings import CodecSettings
from alchemist.models.family import Arrays, Codec
from alchemist.models.pixels import to_float, to_uint8

CARD = "card.json"
DECODED_AT_ONCE = 8  # images through an autoencoder, whose widest layers take 2 GiB for each at 512 pixels
FACTOR = 2  # pixels of a side in a cell of the grid of pixels


def pack(latents: Tensor) -> Tensor:
    """Latents (B, C, H, W) as tokens (B, H/2 W/2, 4C): row-major, channel-major inside a token."""
    return F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def unpack(tokens: Tensor) -> Tensor:
    """The inverse of `pack` on a square grid."""
    side = round(tokens.shape[1] ** 0.5)
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (side, side)), 2)


class FluxCodec(Codec):
    """What is common: the shape of the tokens."""

    channels: int  # C
    side: int  # H and W

    @property
    def shape(self) -> tuple[int, int]:
        """Tokens of an image and values of a token."""
        return (self.side // 2) ** 2, 4 * self.channels

    @abstractmethod
    def tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """Tokens (B, *shape) float32 of what `encode` stored."""

    @abstractmethod
    def images(self, tokens: Tensor) -> Tensor:
        """uint8 images (B, 3, R, R) of tokens (B, *shape)."""


class PixelCodec(FluxCodec):
    """Pixels in [-1, 1]; a cell of the grid is 2 x 2 of them, 12 channels. Nothing is lost."""

    channels = 3 * FACTOR**2
    digest = f"pixels, {FACTOR} x {FACTOR} a cell"

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.side = resolution // FACTOR

    def encode(self, images: NDArray[np.uint8]) -> Arrays:
        """`pixels` (B, R, R, 3): bytes, which are scaled when they are read."""
        return {"pixels": images}

    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See Codec.reconstruct."""
        return images

    def tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """See FluxCodec.tokens."""
        return pack(F.pixel_unshuffle(to_float(inputs["pixels"]), FACTOR))

    def images(self, tokens: Tensor) -> Tensor:
        """See FluxCodec.images."""
        return to_uint8(F.pixel_shuffle(unpack(tokens), FACTOR))


class LatentCodec(FluxCodec):
    """Latents of a frozen AutoencoderKL: (z - shift) scale of the middle of each image's distribution.

    The middle, not a draw, so that what is stored is a function of the image.
    """

    def __init__(self, autoencoder: Any, resolution: int, digest: str = "") -> None:
        super().__init__()
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self._digest = digest
        config = autoencoder.config
        self.scale, self.shift = config.scaling_factor, config.shift_factor or 0.0
        self.channels = config.latent_channels
        self.side = resolution >> (len(config.block_out_channels) - 1)

    @property
    def digest(self) -> str:
        """See Codec.digest."""
        return self._digest

    @torch.no_grad()
    def encode(self, images: NDArray[np.uint8]) -> Arrays:
        """`latents` (B, C, H, W) float16."""
        return {"latents": np.concatenate([devices.host(part.half()) for part in self._latents(images)])}

    @torch.no_grad()
    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See Codec.reconstruct."""
        parts = [devices.host(self.images(pack(part)).permute(0, 2, 3, 1)) for part in self._latents(images)]
        return np.ascontiguousarray(np.concatenate(parts))

    def tokens(self, inputs: dict[str, Tensor]) -> Tensor:
        """See FluxCodec.tokens."""
        return pack(inputs["latents"].float())

    def images(self, tokens: Tensor) -> Tensor:
        """See FluxCodec.images."""
        kind = next(self.autoencoder.parameters()).dtype
        parts = []
        for part in unpack(tokens.float()).split(DECODED_AT_ONCE):
            decoded = self.autoencoder.decode((part / self.scale + self.shift).to(kind), return_dict=False)[0]
            parts.append(to_uint8(decoded.float()))
        return torch.cat(parts)

    def _latents(self, images: NDArray[np.uint8]) -> list[Tensor]:
        device, kind = devices.of(self.autoencoder), next(self.autoencoder.parameters()).dtype
        parts = []
        for start in range(0, len(images), DECODED_AT_ONCE):
            pixels = to_float(devices.put(images[start : start + DECODED_AT_ONCE], device)).to(kind)
            middle = self.autoencoder.encode(pixels, return_dict=False)[0].mode()
            parts.append((middle.float() - self.shift) * self.scale)
        return parts


def write_codec(folder: Path, settings: CodecSettings, resolution: int) -> None:
    """Fills an empty folder with the codec that the settings ask for, from a folder or a model hub.

    Raises Refusal where its weights cannot be had, or do not fit `resolution`.
    """
    if settings.kind == "latents":
        _fetch(settings).save_pretrained(folder, safe_serialization=True)
    files.write_json(folder / CARD, {"codec": settings.kind, "resolution": resolution, "family": "flux"})
    files.write_manifest(folder)
    check_fit(open_codec(folder, torch.device("cpu")), settings, resolution)


def check_fit(codec: FluxCodec, settings: CodecSettings, resolution: int) -> None:
    """Raises Refusal where the images of a pool are no whole number of tokens."""
    step = 2 * (resolution // codec.side)
    if resolution % step:
        raise Refusal(
            f"the pool's resolution is {resolution}; a multiple of {step} is legal for codecs.flux.kind "
            f"{settings.kind}."
        )


def _fetch(settings: CodecSettings) -> Any:
    from diffusers import AutoencoderKL

    assert settings.weights is not None
    files = [str(Path(settings.subfolder) / name) for name in ("*.json", "*.safetensors")]
    return find(settings.weights, "codecs.flux.weights", files).pretrained(AutoencoderKL, settings.subfolder)


def open_codec(folder: Path, device: torch.device) -> FluxCodec:
    """The codec of a folder. Raises Refusal where its files are not what was written."""
    files.check_manifest(folder)
    card = files.read_json(folder / CARD) if (folder / CARD).is_file() else {}
    if card.get("family") != "flux":
        raise Refusal(f"{folder} holds no codec of the family flux; run the stage codec.")
    if card["codec"] == "pixels":
        return PixelCodec(card["resolution"])
    from diffusers import AutoencoderKL

    autoencoder = AutoencoderKL.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    digest = files.sha256(next(folder.glob("*.safetensors")))
    return LatentCodec(autoencoder, card["resolution"], digest).to(device)
