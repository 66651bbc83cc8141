"""A FLUX transformer's trained weights: of diffusers, of the published file, or of a cell's checkpoint."""

import tempfile
from pathlib import Path

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from alchemist.core.refusal import Refusal
from alchemist.families.flux.settings import FluxSettings

CELL = "network."  # before the keys of a cell's checkpoint
PUBLISHED = "double_blocks.0.img_attn.qkv.weight"  # in every single file of the published layout


def load(network: FluxTransformer2DModel, settings: FluxSettings) -> FluxTransformer2DModel:
    """The network with the weights that the settings name; `network` says the sizes, and may lie on `meta`.

    Weights have the type `settings.frozen_type`. Raises Refusal where they cannot be had or have other
    shapes.
    """
    assert settings.weights is not None
    kind = torch.bfloat16 if settings.frozen_type == "bf16" else torch.float32
    file = Path(settings.weights)
    try:
        if file.suffix != ".safetensors":
            loaded = FluxTransformer2DModel.from_pretrained(
                settings.weights, subfolder=settings.subfolder or None, torch_dtype=kind, use_safetensors=True
            )
        elif _is_published(file):
            loaded = from_published(file, network, kind)
        else:
            named = {name.removeprefix(CELL): value for name, value in load_file(file).items()}
            network.load_state_dict(named, assign=True)
            loaded = network.to(kind)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        said = " ".join(str(error).split())[:200].rstrip(".")
        raise Refusal(
            f"weights is {settings.weights!r}, which no network of this size can be had from ({said}); legal "
            "are a folder or a repository of diffusers that is in reach and whose licence is accepted, and a "
            ".safetensors file of the published layout or of a cell's checkpoint."
        ) from None
    _same_shapes(loaded, network, settings.weights)
    return loaded


def from_published(file: Path, network: FluxTransformer2DModel, kind: torch.dtype) -> FluxTransformer2DModel:
    """The network of a single file in the published layout, by diffusers' own converter.

    The converter takes its config from the repository of FLUX.1-dev, of 19 + 38 blocks, unless it is given
    one: that of `network`.
    """
    with tempfile.TemporaryDirectory() as folder:
        network.save_config(folder)
        return FluxTransformer2DModel.from_single_file(str(file), config=folder, torch_dtype=kind)


def _is_published(file: Path) -> bool:
    with safe_open(file, "pt") as opened:
        return any(key.removeprefix("model.diffusion_model.") == PUBLISHED for key in opened.keys())  # noqa: SIM118


def _same_shapes(loaded: FluxTransformer2DModel, wanted: FluxTransformer2DModel, weights: str) -> None:
    """Raises Refusal for the first parameter that is missing, left or of another shape."""
    ours, theirs = ({n: tuple(p.shape) for n, p in m.named_parameters()} for m in (wanted, loaded))
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            raise Refusal(
                f"weights is {weights!r}, where {name} has the shape {theirs.get(name, 'none')}; the "
                f"block of models asks for {ours.get(name, 'none')}."
            )
