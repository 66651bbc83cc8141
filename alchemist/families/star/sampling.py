"""Sampling of code maps from a STAR transformer, scale by scale."""

import numpy as np
import torch
from torch import Tensor

from alchemist.core import devices, stateless
from alchemist.families.star.pyramid import Pyramid
from alchemist.families.star.transformer import Star
from alchemist.models.batch import Chance, Text


def pick(logits: Tensor, uniforms: Tensor, top_k: int, top_p: float) -> Tensor:
    """Token indices (...) from logits (..., V): top-k, then top-p, then the inverse CDF at `uniforms`.

    Top-p drops the tail that, in ascending order, sums to at most 1 - top_p; the best token always
    stays. The same uniform number gives the same token whatever the batch, which a shared random
    generator would not. top_k 0 keeps all.
    """
    chances = logits.float().softmax(-1)
    if top_k and top_k < chances.shape[-1]:
        least = chances.topk(top_k).values[..., -1:]
        chances = torch.where(chances < least, 0.0, chances)
        chances = chances / chances.sum(-1, keepdim=True)
    if top_p < 1:
        # NumPy sorts a row several times faster than torch does on a CPU.
        on_cpu = chances.is_cpu
        ascending = torch.from_numpy(np.sort(chances.numpy())) if on_cpu else chances.sort().values
        tail = torch.full_like(ascending[..., :1], 1 - top_p)
        first = torch.searchsorted(ascending.cumsum(-1), tail, right=True)
        least = ascending.gather(-1, first.clamp_max(chances.shape[-1] - 1))
        chances.masked_fill_(chances < least, 0.0)
    cumulative = chances.cumsum(-1)
    target = (uniforms[..., None] * cumulative[..., -1:]).to(cumulative.dtype)
    index = torch.searchsorted(cumulative, target, right=True)
    # A target that rounds up to the whole sum belongs to the last token that can be drawn.
    last = torch.searchsorted(cumulative, cumulative[..., -1:].contiguous())
    return torch.minimum(index, last)[..., 0]


@torch.no_grad()
def sample(
    model: Star,
    tokenizer: Pyramid,
    captions: Text,
    null: Text,
    chance: Chance,
    guidance: float,
    top_k: int,
    top_p: float,
) -> Tensor:
    """Token rows (B, L) for B captions; `null` is the empty caption's text, same shapes as `captions`.

    Classifier-free guidance (Ho & Salimans 2022) grows over the scales: with t = guidance k / (K - 1) the
    logits are (1 + t) cond - t uncond. The noise is a function of (seed, position, token).
    """
    count, scales = len(captions), tokenizer.config.scales
    both = captions.join(null) if guidance else captions
    cache = model.start_cache(both)
    tokens_seen = 0
    places = np.arange(tokenizer.config.tokens)[None]
    noise = stateless.uniforms(chance.seed, chance.positions[:, None], places)
    device = captions.pooled.device
    total = torch.zeros(count, scales[-1] ** 2, tokenizer.config.channels, device=device)
    maps = []
    for k, side in enumerate(scales):
        # --- logits of all tokens of this scale, with the caption and without
        inputs = None if k == 0 else tokenizer.next_input(k, total)
        if inputs is not None and guidance:
            inputs = torch.cat([inputs, inputs])
        logits = model.step(k, inputs, both, cache)
        if guidance:
            t = guidance * k / (len(scales) - 1)
            logits = logits[:count].mul_(1 + t).sub_(logits[count:].mul_(t))
        # --- one token each, and what they add to the feature map
        u = devices.put(noise[:, tokens_seen : tokens_seen + side * side], device)
        index = pick(logits, u, top_k, top_p)
        tokens_seen += side * side
        total = total + tokenizer.codes_of(k, index)
        maps.append(index)
    return torch.cat(maps, 1)
