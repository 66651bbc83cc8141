"""FLUX of settings alone: see `alchemist.models.outline`."""

import json
from pathlib import Path
from typing import Any

import torch

from alchemist.core import weights
from alchemist.families.flux.codec import FluxCodec, LatentCodec, PixelCodec, check_fit
from alchemist.families.flux.generator import FluxGenerator, FluxTrunk
from alchemist.families.flux.settings import PRETRAINED, CodecSettings, FluxSettings
from alchemist.models.outline import META, Outline, Stored

# The autoencoder of FLUX.1 (83.8 million parameters), for where its weights are not here.
PUBLISHED = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 16,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}


def outline(codec: CodecSettings, resolution: int, assets: Path) -> Outline:
    """Pixels, or latents of the autoencoder whose config is here, or else of that of FLUX.1."""
    frozen: FluxCodec
    if codec.kind == "pixels":
        frozen, arrays = (
            PixelCodec(resolution),
            {"pixels": Stored((resolution, resolution, 3), 1, torch.uint8)},
        )
    else:
        frozen = LatentCodec(_autoencoder(codec), resolution)
        shape = frozen.channels, frozen.side, frozen.side
        arrays = {"latents": Stored(shape, 2, torch.float32)}
    check_fit(frozen, codec, resolution)

    def generator(settings: FluxSettings) -> FluxGenerator:
        with META:  # the network of that size: which weights it starts from changes no count
            return FluxGenerator(settings.model_copy(update={"weights": None, "compile": False}), frozen, 0)

    def trunk(settings: FluxSettings) -> FluxTrunk:
        with META:
            return FluxTrunk(settings.model_copy(update={"compile": False}), frozen, 0)

    def encode(count: int) -> object:
        if not isinstance(frozen, LatentCodec):
            return None
        return frozen.autoencoder.encode(torch.empty(count, 3, resolution, resolution, device=META))

    def decode(count: int) -> object:
        return frozen.images(torch.empty(count, *frozen.shape, device=META))

    return Outline(
        arrays,
        generator,
        trunk,
        lambda settings: (settings.text_width, settings.pooled_width),
        lambda settings: 2 if settings.frozen_type == "bf16" else 4,
        frozen,
        encode,
        decode,
    )


def _autoencoder(codec: CodecSettings) -> Any:
    from diffusers import AutoencoderKL

    assert codec.weights is not None
    found = weights.here(codec.weights, str(Path(codec.subfolder) / "config.json"))
    with META:
        if found is None:
            return AutoencoderKL(**PUBLISHED)
        return AutoencoderKL.from_config(json.loads(found.read_text(encoding="utf-8")))


def needs(block: FluxSettings | CodecSettings) -> list[tuple[str, str]]:
    """The weights that training starts from, or the autoencoder's; not those that a stage makes."""
    if block.weights is None or block.weights == PRETRAINED:
        return []
    return [(block.weights, str(Path(block.subfolder) / "config.json"))]
