"""STAR: next-scale prediction of code maps from text (Ma et al. 2024, after VAR, Tian et al. 2024).

Token 0 is predicted from the pooled caption; the tokens of scale k from all coarser scales and,
through cross-attention, from the caption's own text states. No row of a batch sees another row.
"""

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.families.star.settings import StarSettings
from alchemist.models.batch import Text

ROPE_RANGE = 64.0  # coordinates of every scale are spread over [0, 64]
ROPE_BASE = 10_000.0
MAX_LOG_SCALE = math.log(100.0)


def rope_table(scales: tuple[int, ...], head: int) -> Tensor:
    """Normalised axial rotation angles, (L, head / 2): first half by column, second by row."""
    frequencies = ROPE_BASE ** (-4.0 * torch.arange(head // 4, dtype=torch.float64) / head)
    angles = []
    for side in scales:
        line = torch.arange(side, dtype=torch.float64) / max(side - 1, 1) * ROPE_RANGE
        column, row = line.repeat(side), line.repeat_interleave(side)
        angles.append(torch.cat([column[:, None] * frequencies, row[:, None] * frequencies], 1))
    return torch.cat(angles)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotates adjacent channel pairs of (B, H, L, head) by angles given as (L, head / 2)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)


def attend(q: Tensor, k: Tensor, v: Tensor, log_scale: Tensor, mask: Tensor | None) -> Tensor:
    """Cosine attention on (B, H, L, head); logits = exp(min(s, ln 100)) cos(q, k).

    `mask` is additive and broadcasts to (B, H, Lq, Lk). On a CPU plain products are faster
    than the fused kernel at these lengths, and they have a forward-mode rule.
    """
    q = F.normalize(q.float(), dim=-1) * log_scale.clamp_max(MAX_LOG_SCALE).exp()[:, None, None]
    q, k = q.to(v.dtype), F.normalize(k.float(), dim=-1).to(v.dtype)
    if q.device.type != "cpu":
        if mask is not None:
            mask = mask.to(v.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
    logits = q @ k.transpose(-1, -2)
    if mask is not None:
        logits = logits + mask.to(logits.dtype)
    return logits.softmax(-1) @ v


class Block(nn.Module):
    """Self-attention over tokens, cross-attention to the caption, feed-forward; pre-norm."""

    def __init__(self, settings: StarSettings, text_width: int) -> None:
        super().__init__()
        width, self.heads = settings.width, settings.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.full((self.heads,), math.log(4.0)))
        self.out = nn.Linear(width, width)
        self.text_q = nn.Linear(width, width)
        self.text_kv = nn.Linear(text_width, 2 * width, bias=False)
        self.text_v_bias = nn.Parameter(torch.zeros(width))
        self.text_log_scale = nn.Parameter(torch.full((self.heads,), math.log(4.0)))
        self.text_out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.relu = settings.activation == "relu"

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def caption_kv(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of the caption, (B, H, T, head) each; computed once while sampling."""
        key, value = self.text_kv(states).chunk(2, -1)
        return self._split(key), self._split(value + self.text_v_bias.to(value.dtype))

    def forward(
        self,
        x: Tensor,
        caption: tuple[Tensor, Tensor],
        caption_mask: Tensor,
        angles: tuple[Tensor, Tensor],
        mask: Tensor | None,
        past: tuple[Tensor, Tensor] | None = None,
        paths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, L, C) to the same, and this block's keys and values with those of `past` in front.

        `paths` (B, 2) multiplies the self-attention and feed-forward branches (drop-path).
        """
        width = x.shape[-1]
        q, k, v = self.qkv(F.layer_norm(x, (width,), eps=1e-6)).chunk(3, -1)
        q, v = q + self.q_bias.to(q.dtype), v + self.v_bias.to(v.dtype)
        q, k = rotate(self._split(q), *angles), rotate(self._split(k), *angles)
        v = self._split(v)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        branch = self.out(attend(q, k, v, self.log_scale, mask).transpose(1, 2).flatten(2))
        x = x + (branch if paths is None else branch * paths[:, :1, None])
        q = self._split(self.text_q(F.layer_norm(x, (width,), eps=1e-6)))
        read = attend(q, *caption, self.text_log_scale, caption_mask)
        x = x + self.text_out(read.transpose(1, 2).flatten(2))
        hidden = self.up(F.layer_norm(x, (width,), eps=1e-6))
        branch = self.down(F.relu(hidden) if self.relu else F.gelu(hidden, approximate="tanh"))
        return x + (branch if paths is None else branch * paths[:, 1:, None]), (k, v)


class Star(nn.Module):
    """The transformer. `head=False` leaves the output layer out (the rater's trunk)."""

    def __init__(
        self,
        settings: StarSettings,
        scales: tuple[int, ...],
        codes: int,
        channels: int,
        text_width: int,
        head: bool = True,
    ) -> None:
        super().__init__()
        width = settings.width
        self.settings, self.scales = settings, scales
        self.embed = nn.Linear(channels, width)
        self.start = nn.Linear(text_width, width)
        self.start_position = nn.Parameter(torch.zeros(width))
        self.level = nn.Parameter(torch.zeros(len(scales), width))
        self.blocks = nn.ModuleList([Block(settings, text_width) for _ in range(settings.depth)])
        self.head = nn.Linear(width, codes) if head else None
        angles = rope_table(scales, width // settings.heads)
        self.register_buffer("cosine", angles.cos().float(), persistent=False)
        self.register_buffer("sine", angles.sin().float(), persistent=False)
        level_of = torch.cat([torch.full((s * s,), k) for k, s in enumerate(scales)])
        self.register_buffer("level_of", level_of, persistent=False)
        visible = level_of[:, None] >= level_of[None, :]
        mask = torch.zeros(visible.shape).masked_fill(~visible, -torch.inf)
        self.register_buffer("mask", mask, persistent=False)

    def initialise(self, seed: int) -> None:
        """All weights as functions of the seed: truncated normal, std sqrt(1/(3C)); biases zero."""
        std = math.sqrt(1 / 3 / self.settings.width)
        rng = torch.Generator().manual_seed(stateless.key("weights", seed))
        shrink = 1 / math.sqrt(2 * self.settings.depth)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2 or name == "start_position":
                nn.init.trunc_normal_(parameter, std=std, a=-3 * std, b=3 * std, generator=rng)
                if name.endswith((".out.weight", ".down.weight")):
                    parameter.data.mul_(shrink)
                if name == "head.weight":
                    parameter.data.mul_(0.02)

    def _layers(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def _angles(self, first: int, last: int) -> tuple[Tensor, Tensor]:
        return self.get_buffer("cosine")[first:last], self.get_buffer("sine")[first:last]

    def _first(self, text: Text) -> Tensor:
        return self.start(text.pooled)[:, None] + self.start_position

    def logits(self, hidden: Tensor) -> Tensor:
        """(B, L, C) to (B, L, V) float32. Under autocast the product is bfloat16, a fifth faster
        to train on a CPU than STAR's float32 head; losses that rate or evaluate run without it."""
        if self.head is None:
            raise TypeError("This Star was built without a head.")
        x: Tensor = self.head(F.layer_norm(hidden.float(), (hidden.shape[-1],), eps=1e-6))
        return x.float()

    def hidden(self, inputs: Tensor, text: Text, paths: Tensor | None = None) -> Tensor:
        """Teacher-forced output states, (B, L, C), of inputs (B, L - 1, channels).

        `paths` (B, depth, 2) holds the drop-path factors; None leaves every branch in.
        """
        x = torch.cat([self._first(text), self.embed(inputs)], 1)
        x = x + self.level[self.get_buffer("level_of")]
        caption_mask = padding_mask(text.mask)
        for i, block in enumerate(self._layers()):
            x, _ = block(
                x,
                block.caption_kv(text.states),
                caption_mask,
                self._angles(0, x.shape[1]),
                self.get_buffer("mask"),
                paths=None if paths is None else paths[:, i],
            )
        return x

    def forward(self, inputs: Tensor, text: Text, paths: Tensor | None = None) -> Tensor:
        """Logits (B, L, V) of all tokens from teacher-forcing inputs (B, L - 1, channels)."""
        return self.logits(self.hidden(inputs, text, paths))

    def start_cache(self, text: Text) -> "Cache":
        """What sampling keeps between scales for one batch of captions."""
        captions = [block.caption_kv(text.states) for block in self._layers()]
        return Cache(captions, padding_mask(text.mask), [None] * len(self.blocks))

    def step(self, k: int, inputs: Tensor | None, text: Text, cache: "Cache") -> Tensor:
        """Logits (B, side_k^2, V) of scale k; `inputs` (B, side_k^2, channels), none at scale 0."""
        x = self._first(text) if inputs is None else self.embed(inputs)
        x = x + self.level[k]
        first = sum(side * side for side in self.scales[:k])
        angles = self._angles(first, first + x.shape[1])
        for i, block in enumerate(self._layers()):
            x, cache.past[i] = block(x, cache.captions[i], cache.mask, angles, None, cache.past[i])
        return self.logits(x)


@dataclass
class Cache:
    """Keys and values of a batch: of its captions, and of the scales sampled so far."""

    captions: list[tuple[Tensor, Tensor]]
    mask: Tensor
    past: list[tuple[Tensor, Tensor] | None]


def padding_mask(mask: Tensor) -> Tensor:
    """(B, T) true on real tokens to an additive (B, 1, 1, T) mask."""
    return torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, -torch.inf)[:, None, None]


def no_decay(name: str, parameter: Tensor) -> bool:
    """Whether weight decay leaves a parameter alone: 1-D ones, embeddings, learned scales."""
    return parameter.ndim < 2 or name.rsplit(".", maxsplit=1)[-1] in ("level", "start_position")
