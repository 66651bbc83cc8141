"""The FLUX transformer of diffusers, with an attention that is fast on a CPU, and seeded weights."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxAttention, FluxTransformer2DModel
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.families.flux.settings import FluxSettings
from alchemist.models.batch import Text


def transformer(settings: FluxSettings, channels: int) -> FluxTransformer2DModel:
    """A network of that size over tokens of `channels`, its weights as torch draws them."""
    return FluxTransformer2DModel(
        in_channels=channels,
        num_layers=settings.double_blocks,
        num_single_layers=settings.single_blocks,
        attention_head_dim=settings.head_width,
        num_attention_heads=settings.heads,
        joint_attention_dim=settings.text_width,
        pooled_projection_dim=settings.pooled_width,
        guidance_embeds=settings.embedded_guidance is not None,
        axes_dims_rope=settings.rope,
    )


def fit_out(network: FluxTransformer2DModel, settings: FluxSettings) -> None:
    """Sets how a network is run: its attention, and what trades time for memory."""
    network.set_attn_processor(Attention())
    if settings.gradient_checkpointing:
        network.enable_gradient_checkpointing()
    if settings.compile:
        network.compile_repeated_blocks()


@torch.no_grad()
def initialise(network: nn.Module, seed: int) -> None:
    """Weights as of a diffusion transformer (Peebles & Xie 2023), functions of the seed alone.

    Xavier-uniform matrices and biases of zero; what modulates a block, and the last layer, start at zero, so
    that every block starts as the identity.
    """
    rng = torch.Generator().manual_seed(stateless.key("flux", seed))
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            modulates = "norm" in name.split(".")[-2] if "." in name else name == "proj_out"
            bound = 0.0 if modulates else math.sqrt(6 / sum(module.weight.shape))
            module.weight.copy_((2 * torch.rand(module.weight.shape, generator=rng) - 1) * bound)
            if module.bias is not None:
                module.bias.zero_()


def run(
    network: FluxTransformer2DModel, tokens: Tensor, sigma: Tensor, text: Text, guidance: float | None = None
) -> Tensor:
    """What the network gives for tokens (B, L, D) at sigma (B,) with captions: (B, L, its output's width).

    No token attends to the padding of a caption, so that no row depends on its neighbours' lengths.
    `guidance` is for a network that embeds it, and None for others.
    """
    rows, places = len(tokens), tokens.shape[1]
    side = round(places**0.5)
    grid = torch.arange(places, device=tokens.device)
    ids = torch.stack([torch.zeros_like(grid), grid // side, grid % side], 1)
    seen = F.pad(text.mask, (0, places), value=True)
    bias = torch.zeros(rows, 1, 1, seen.shape[1], device=tokens.device)
    bias = bias.masked_fill(~seen[:, None, None], -math.inf)
    out: Tensor = network(
        hidden_states=tokens,
        encoder_hidden_states=text.states,
        pooled_projections=text.pooled,
        timestep=sigma,  # the network multiplies by 1,000
        img_ids=ids,
        guidance=None if guidance is None else torch.full_like(sigma, guidance),
        txt_ids=ids.new_zeros(text.states.shape[1], 3),
        joint_attention_kwargs={"attention_mask": bias},
        return_dict=False,
    )[0]
    return out


def _rms(norm: nn.RMSNorm, x: Tensor) -> Tensor:
    # A weight of another type than x would leave the fused path.
    return F.rms_norm(x, norm.normalized_shape, norm.weight.to(x.dtype), norm.eps)


def _attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
    """Attention of (B, heads, L, head) with an additive bias.

    On a CPU as two products and a softmax: torch's fused kernel takes four times as long at 80 tokens, and
    has neither a forward-mode rule nor a second derivative, which exact credits want.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
    logits = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    return (logits + bias).softmax(-1).to(v.dtype) @ v


class Attention:
    """Joint attention of text and image, as an attention processor of diffusers."""

    def __call__(
        self,
        attn: FluxAttention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Of image states (B, L, C) and, in a double block, text states (B, T, C); joined ones in a single.

        The text stands first. `attention_mask` (B, 1, 1, T + L) is added to the logits.
        """
        assert attention_mask is not None
        heads = (-1, attn.head_dim)
        q, k, v = (to(hidden_states).unflatten(-1, heads) for to in (attn.to_q, attn.to_k, attn.to_v))
        q, k = _rms(attn.norm_q, q), _rms(attn.norm_k, k)
        if encoder_hidden_states is not None:
            ours = (attn.add_q_proj, attn.add_k_proj, attn.add_v_proj)
            text_q, text_k, text_v = (to(encoder_hidden_states).unflatten(-1, heads) for to in ours)
            text_q, text_k = _rms(attn.norm_added_q, text_q), _rms(attn.norm_added_k, text_k)
            q, k, v = (torch.cat(pair, 1) for pair in ((text_q, q), (text_k, k), (text_v, v)))
        q, k = (apply_rotary_emb(part, image_rotary_emb, sequence_dim=1) for part in (q, k))
        mixed = _attend(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), attention_mask)
        mixed = mixed.transpose(1, 2).flatten(2)
        if encoder_hidden_states is None:
            return mixed
        length = encoder_hidden_states.shape[1]
        text, image = mixed[:, :length], mixed[:, length:]
        return attn.to_out[0](image), attn.to_add_out(text)
