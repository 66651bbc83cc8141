"""STAR: next-scale prediction of code maps from text (Ma et al. 2024, after VAR, Tian et al. 2024).

Token 0 is predicted from the pooled caption; the tokens of scale k from all coarser scales and,
through cross-attention, from the caption's own text states. No row of a batch sees another row.
"""

import contextlib
import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.core import devices, fsdp, stateless
from alchemist.core.refusal import Refusal
from alchemist.families.star import fused
from alchemist.families.star.fused import Sight
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


def turn(x: Tensor, turns: Tensor | None, sizes: Tensor) -> tuple[Tensor, ...]:
    """P parts (B, H, L, head) of vectors (B, L, P H, head), of which the first come turned and brought to
    the lengths `sizes` (parts, H), and those after them as they are.

    `turns` (L, head / 2) are unit complex numbers, one an adjacent pair of channels; None turns nothing.
    """
    if _few_passes(x):
        return fused.turn(x, turns, sizes)
    wide = x[:, :, : sizes.numel()].to(torch.promote_types(x.dtype, torch.float32))
    if turns is not None:
        even, odd, cosine, sine = wide[..., 0::2], wide[..., 1::2], turns.real[:, None], turns.imag[:, None]
        wide = torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)
    turned = (F.normalize(wide, dim=-1) * sizes.view(-1, 1)).to(x.dtype)
    heads = sizes.shape[1]
    parts = *turned.split(heads, 2), *x.split(heads, 2)[len(sizes) :]
    return tuple(part.transpose(1, 2) for part in parts)


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, most: Tensor) -> Tensor:
    """softmax(q k + mask) v of (B, H, L, head), where no product q k of a head is above its `most` (H,).

    On a CPU plain products are faster than torch's own fused kernel at these lengths, and they have a
    forward-mode rule. In float32 each row's softmax is the same to the last digit wherever it stands.
    """
    if _few_passes(q) and q.dtype == torch.bfloat16:
        return fused.attend(q, k, v, sight, most)
    mask = None if sight.mask is None else sight.mask.to(q.dtype)
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=1.0)
    logits = q @ k.transpose(-1, -2)
    return (logits if mask is None else logits + mask).softmax(-1) @ v


def linear(layer: nn.Linear, x: Tensor, bias: Tensor | None = None, relu: bool = False) -> Tensor:
    """A layer's x W^T + b of x (..., C), with another bias if one is given, and its ReLU if asked for."""
    bias = layer.bias if bias is None else bias
    if _few_passes(x) and torch.is_autocast_enabled("cpu"):
        kind = torch.get_autocast_dtype("cpu")
        return fused.linear(x.to(kind), layer.weight.to(kind), bias.to(kind), relu)
    out = F.linear(x, layer.weight, bias)
    return F.relu(out) if relu else out


def _few_passes(x: Tensor) -> bool:
    """Whether the functions of `fused` run: on a CPU, but where derivatives are asked that they lack."""
    return x.device.type == "cpu" and not devices.plain()


class Block(nn.Module):
    """Self-attention over tokens, cross-attention to the caption, feed-forward; pre-norm."""

    def __init__(self, settings: StarSettings) -> None:
        super().__init__()
        width, self.heads = settings.width, settings.heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias, self.v_bias = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.full((self.heads,), math.log(4.0)))
        self.out = nn.Linear(width, width)
        self.text_q = nn.Linear(width, width)
        self.text_kv = nn.Linear(settings.text_width, 2 * width, bias=False)
        self.text_v_bias = nn.Parameter(torch.zeros(width))
        self.text_log_scale = nn.Parameter(torch.full((self.heads,), math.log(4.0)))
        self.text_out = nn.Linear(width, width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.relu = settings.activation == "relu"

    def caption(self, kv: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, T, head) of a caption, of its states' product (B, T, 2C) with `text_kv`."""
        k, v = turn(kv.unflatten(-1, (2 * self.heads, -1)), None, torch.ones_like(self.log_scale)[None])
        return k, v

    def forward(
        self,
        x: Tensor,
        caption: tuple[Tensor, Tensor] | Tensor,
        of_caption: Sight,
        turns: Tensor,
        of_tokens: Sight,
        past: tuple[Tensor, Tensor] | None = None,
        paths: Tensor | None = None,
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(B, L, C) to the same, and this block's keys and values with those of `past` in front.

        `caption` is its keys and values, or its states (B, T, D) where they are still to be made of them.
        Logits are exp(min(s, ln 100)) cos(q, k). `of_caption` and `of_tokens` say what the tokens see there.
        `paths` (B, 2) multiplies the self-attention and feed-forward branches (drop-path).
        """
        width, heads = x.shape[-1], self.heads
        # --- self-attention
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = linear(self.qkv, F.layer_norm(x, (width,), eps=1e-6), bias)
        size = self.log_scale.clamp_max(MAX_LOG_SCALE).exp()
        sizes = torch.stack([size, torch.ones_like(size)])
        q, k, v = turn(qkv.unflatten(-1, (3 * heads, -1)), turns, sizes)
        if past is not None:
            k, v = torch.cat([past[0], k], 2), torch.cat([past[1], v], 2)
        read = attend(q, k, v, of_tokens, size)
        x = added(x, linear(self.out, read.transpose(1, 2).flatten(2)), paths, 0)
        # --- cross-attention
        if isinstance(caption, Tensor):
            bias = torch.cat([torch.zeros_like(self.text_v_bias), self.text_v_bias])
            caption = self.caption(F.linear(caption, self.text_kv.weight, bias))
        q = linear(self.text_q, F.layer_norm(x, (width,), eps=1e-6)).unflatten(-1, (heads, -1))
        size = self.text_log_scale.clamp_max(MAX_LOG_SCALE).exp()
        (q,) = turn(q, None, size[None])
        read = attend(q, *caption, of_caption, size)
        x = x + linear(self.text_out, read.transpose(1, 2).flatten(2))
        # --- feed-forward
        hidden = linear(self.up, F.layer_norm(x, (width,), eps=1e-6), relu=self.relu)
        hidden = hidden if self.relu else F.gelu(hidden, approximate="tanh")
        return added(x, linear(self.down, hidden), paths, 1), (k, v)


def added(x: Tensor, branch: Tensor, paths: Tensor | None, place: int) -> Tensor:
    """x + a branch (B, L, C), times its factor of `paths` (B, 2) if there are any."""
    return x + branch if paths is None else torch.addcmul(x, branch, paths[:, place, None, None].to(x.dtype))


class Star(nn.Module):
    """The transformer. `head=False` leaves the output layer out (the rater's trunk)."""

    def __init__(
        self,
        settings: StarSettings,
        scales: tuple[int, ...],
        codes: int,
        channels: int,
        head: bool = True,
    ) -> None:
        super().__init__()
        width = settings.width
        self.settings, self.scales = settings, scales
        self.embed = nn.Linear(channels, width)
        self.start = nn.Linear(settings.text_width, width)
        self.start_position = nn.Parameter(torch.zeros(width))
        self.level = nn.Parameter(torch.zeros(len(scales), width))
        self.blocks = nn.ModuleList([Block(settings) for _ in range(settings.depth)])
        self.head = nn.Linear(width, codes) if head else None
        angles = rope_table(scales, width // settings.heads)
        turns = torch.polar(torch.ones_like(angles), angles).to(torch.complex64)
        self.register_buffer("turns", turns, persistent=False)
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

    def _first(self, text: Text) -> Tensor:
        wide, given = self.settings.text_width, (text.states.shape[-1], text.pooled.shape[-1])
        if given != (wide, wide):
            raise Refusal(
                f"the model's text_width is {wide}; the captions are encoded with {given[0]} numbers a word "
                f"piece and {given[1]} pooled, and all three should be the same (models and encode.text)."
            )
        first: Tensor = self.start(text.pooled)
        return (first + self.start_position.to(first.dtype))[:, None]

    def _captions(self, text: Text) -> list[tuple[Tensor, Tensor]]:
        """Each block's keys and values of the captions, by one product."""
        layers = self._layers()
        weight = torch.cat([block.text_kv.weight for block in layers])
        zeros = torch.zeros_like(layers[0].text_v_bias)
        bias = torch.cat([part for block in layers for part in (zeros, block.text_v_bias)])
        parts = F.linear(text.states, weight, bias).chunk(len(layers), -1)
        return [block.caption(kv) for block, kv in zip(layers, parts, strict=True)]

    def logits(self, hidden: Tensor) -> Tensor:
        """(B, L, C) to (B, L, V) float32. Under autocast the product is bfloat16, a fifth faster to train on
        a CPU than STAR's own `float32_head`; losses that rate or evaluate run without it."""
        if self.head is None:
            raise TypeError("This Star was built without a head.")
        with self._of_head(hidden.device):
            x: Tensor = self.head(self._normalised(hidden))
        return x.float()

    def _normalised(self, hidden: Tensor) -> Tensor:
        """What the output layer reads, in the type of its product."""
        hidden = hidden.float() if self.settings.float32_head else hidden
        return F.layer_norm(hidden, (hidden.shape[-1],), eps=1e-6)

    def _of_head(self, device: torch.device) -> contextlib.AbstractContextManager[None]:
        wide = self.settings.float32_head
        return devices.autocast("fp32", device) if wide else contextlib.nullcontext()

    def code_losses(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Cross-entropies (B, L) of codes (B, L) under the logits of states (B, L, C), float32."""
        if self.head is not None and _few_passes(hidden):
            x = self._normalised(hidden).flatten(0, 1)
            with self._of_head(x.device):
                each = fused.code_losses(
                    x, self.head.weight.to(x.dtype), self.head.bias.to(x.dtype), codes.flatten()
                )
        else:
            each = F.cross_entropy(self.logits(hidden).flatten(0, 1), codes.flatten(), reduction="none")
        return each.view(codes.shape)

    def hidden(self, inputs: Tensor, text: Text, paths: Tensor | None = None) -> Tensor:
        """Teacher-forced output states, (B, L, C), of inputs (B, L - 1, channels).

        `paths` (B, depth, 2) holds the drop-path factors; None leaves every branch in. Under autocast on a
        CPU the states are bfloat16 from block to block.
        """
        x = torch.cat([self._first(text), self.embed(inputs)], 1)
        x = x + self.level[self.get_buffer("level_of")].to(x.dtype)
        # The last scale sees all tokens, all others none of the last scale's.
        length, before = x.shape[1], x.shape[1] - self.scales[-1] ** 2
        parts = (0, before, before), (before, length, length)
        of_tokens, of_caption = Sight(self.get_buffer("mask")[None, None], parts), caption_sight(text, length)
        apart = any(map(fsdp.gathers, self.blocks))  # then no product of all blocks' weights can be had
        captions = [text.states] * len(self.blocks) if apart else self._captions(text)
        for i, (block, caption) in enumerate(zip(self._layers(), captions, strict=True)):
            of_block = None if paths is None else paths[:, i]
            x, _ = block(x, caption, of_caption, self.get_buffer("turns"), of_tokens, paths=of_block)
        return x

    def forward(self, inputs: Tensor, text: Text, paths: Tensor | None = None) -> Tensor:
        """Logits (B, L, V) of all tokens from teacher-forcing inputs (B, L - 1, channels)."""
        return self.logits(self.hidden(inputs, text, paths))

    def start_cache(self, text: Text) -> "Cache":
        """What sampling keeps between scales for one batch of captions."""
        return Cache(self._captions(text), [None] * len(self.blocks))

    def step(self, k: int, inputs: Tensor | None, text: Text, cache: "Cache") -> Tensor:
        """Logits (B, side_k^2, V) of scale k; `inputs` (B, side_k^2, channels), none at scale 0."""
        x = self._first(text) if inputs is None else self.embed(inputs)
        x = x + self.level[k].to(x.dtype)
        first = sum(side * side for side in self.scales[:k])
        length, last = x.shape[1], first + x.shape[1]
        turns, of_caption = self.get_buffer("turns")[first:last], caption_sight(text, length)
        of_tokens = Sight(None, ((0, length, last),))
        for i, block in enumerate(self._layers()):
            x, cache.past[i] = block(x, cache.captions[i], of_caption, turns, of_tokens, cache.past[i])
        return self.logits(x)


@dataclass
class Cache:
    """Keys and values of a batch: of its captions, and of the scales sampled so far."""

    captions: list[tuple[Tensor, Tensor]]
    past: list[tuple[Tensor, Tensor] | None]


def caption_sight(text: Text, length: int) -> Sight:
    """That `length` queries of each row see the row's own word pieces, and no padding."""
    mask = torch.zeros(text.mask.shape, device=text.mask.device).masked_fill(~text.mask, -torch.inf)
    return Sight(mask[:, None, None], ((0, length, mask.shape[1]),))


def no_decay(name: str, parameter: Tensor) -> bool:
    """Whether weight decay leaves a parameter alone: 1-D ones, embeddings, learned scales."""
    return parameter.ndim < 2 or name.rsplit(".", maxsplit=1)[-1] in ("level", "start_position")
