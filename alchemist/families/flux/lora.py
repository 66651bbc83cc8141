"""Low-rank adapters on a frozen FLUX transformer, in peft's format (Hu et al. 2022)."""

from typing import Any

import torch
from diffusers.models.transformers.transformer_flux import FluxTransformer2DModel
from peft import LoraConfig, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor

from alchemist.core import stateless
from alchemist.families.flux.settings import LoraSettings

PREFIX = "transformer."  # before the keys in a file, by which a pipeline of diffusers knows the part
# Anchored at the blocks: the bare name proj_out would match the last layer of the network too.
_ATTENTION = (
    r"(single_)?transformer_blocks\.\d+\.attn\."
    r"(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
)
_DOUBLE = r"transformer_blocks\.\d+\.(ff|ff_context)\.net\.(0\.proj|2)"
_SINGLE = r"single_transformer_blocks\.\d+\.(proj_mlp|proj_out)"
TARGETS = {
    "attention": _ATTENTION,
    "double": f"({_ATTENTION}|{_DOUBLE})",
    "all": f"({_ATTENTION}|{_DOUBLE}|{_SINGLE})",
}


@torch.no_grad()
def adapt(network: FluxTransformer2DModel, settings: LoraSettings, seed: int) -> None:
    """Freezes a network and adds adapters, which change nothing yet: A is Gaussian by the seed, B zero."""
    network.requires_grad_(False)
    network.add_adapter(
        LoraConfig(r=settings.rank, lora_alpha=settings.rank, target_modules=TARGETS[settings.target])
    )
    rng = torch.Generator().manual_seed(stateless.key("lora", seed))
    for name, parameter in network.named_parameters():
        if "lora_A" in name:  # of standard deviation 1 / rank, as peft's init "gaussian"
            parameter.copy_(torch.randn(parameter.shape, generator=rng) / settings.rank)
        elif "lora_B" in name:
            parameter.zero_()
    for parameter in network.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def weights(network: FluxTransformer2DModel) -> dict[str, Tensor]:
    """The adapters as `load_lora_weights` of a FluxPipeline reads them from a file."""
    return {PREFIX + name: value for name, value in get_peft_model_state_dict(network).items()}


def load_weights(network: FluxTransformer2DModel, tensors: dict[str, Tensor]) -> None:
    """Puts what `weights` gave into an adapted network. Raises KeyError for another network's."""
    found: Any = set_peft_model_state_dict(network, {n.removeprefix(PREFIX): v for n, v in tensors.items()})
    missing = [name for name in found.missing_keys if "lora_" in name]
    if missing or found.unexpected_keys:
        raise KeyError(f"adapters of another network: {[*missing, *found.unexpected_keys][0]}")
