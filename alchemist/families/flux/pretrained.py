"""A FLUX transformer's trained weights: of diffusers, of the published file, or of a cell's checkpoint."""

from pathlib import Path

import torch
from diffusers.loaders.single_file_utils import convert_flux_transformer_checkpoint_to_diffusers
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from torch import Tensor

from alchemist.core.weights import Weights, find, quiet
from alchemist.families.flux.settings import FluxSettings

CELL = "network."  # before the keys of a cell's checkpoint
BESIDE = "model.diffusion_model."  # before those of a published file that holds other networks too
PUBLISHED = "double_blocks.0.img_attn.qkv.weight"  # in every single file of the published layout


def load(network: FluxTransformer2DModel, settings: FluxSettings) -> FluxTransformer2DModel:
    """The network with the weights that the settings name; `network` says the sizes, and may lie on `meta`.

    Weights have the type `settings.frozen_type`. Raises Refusal where they cannot be had or have other
    shapes.
    """
    assert settings.weights is not None
    kind = torch.bfloat16 if settings.frozen_type == "bf16" else torch.float32
    files = [str(Path(settings.subfolder) / name) for name in ("*.json", "*.safetensors")]
    found = find(settings.weights, "weights", files)
    if found.path.is_dir():
        loaded: FluxTransformer2DModel = found.pretrained(
            FluxTransformer2DModel, settings.subfolder, torch_dtype=kind
        )
        found.fits(loaded.state_dict(), network.state_dict())
    else:
        stored = found.tensors()
        if any(name.removeprefix(BESIDE) == PUBLISHED for name in stored):
            stored = converted(stored, found)
        with quiet():  # diffusers tells of each cast
            network = network.to(kind)
        loaded = found.fill(network, {name.removeprefix(CELL): value for name, value in stored.items()})
    return loaded.requires_grad_()  # whoever adapts it freezes it


def converted(stored: dict[str, Tensor], found: Weights) -> dict[str, Tensor]:
    """The tensors of the published layout by diffusers' names, and those that its converter leaves.

    It fixes the width, 3,072.
    """
    with found.reading(found.path.name):
        return {**convert_flux_transformer_checkpoint_to_diffusers(stored), **stored}
