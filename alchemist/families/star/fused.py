"""Steps of the transformer in few passes over memory, for a CPU.

Each is an autograd function with a backward pass written out, in the products' own type. None has a
forward-mode rule or a second derivative, and says so where one is asked for: those passes of exact credits
run the plain operations of `transformer`, and the tests compare the two.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from alchemist.core import devices

ROWS = 256  # of logits at a time: 256 x 2,048 float32 stay near the core
LOG2E = math.log2(math.e)  # powers of two come several times faster than those of e
LEAST = 1e-37  # a chance below counts as this one: a loss of at most 85 nats


def _only_once() -> None:
    # In a backward pass gradients are recorded where somebody wants to differentiate it.
    if torch.is_grad_enabled():
        raise RuntimeError("fused steps have no second derivative; run within devices.plain_operations")


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, turns: Tensor | None, sizes: Tensor) -> tuple[Tensor, ...]:
        kind = torch.promote_types(x.dtype, torch.float32)
        outs, shrinks = [], []
        for n, part in enumerate(x.transpose(1, 2).split(sizes.shape[1], 1)):
            if n < len(sizes):
                # Turned over in the narrow type, then widened; from there in place.
                wide = part.contiguous().to(kind, copy=True)
                norms = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
                shrinks.append(sizes[n, :, None, None] / norms.clamp_min_(1e-12))  # (B, H, L, 1)
                if turns is not None:
                    _complex(wide).mul_(turns)
                outs.append(wide.mul_(shrinks[n]).to(x.dtype))
            else:
                outs.append(part.clone(memory_format=torch.contiguous_format))
        ctx.save_for_backward(turns, sizes, *shrinks, *outs[: len(sizes)])
        return tuple(outs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _only_once()
        turns, sizes, *kept = ctx.saved_tensors
        shrinks, outs = kept[: len(sizes)], kept[len(sizes) :]
        (count, heads, length, head), kind = outs[0].shape, shrinks[0].dtype
        by_x = outs[0].new_empty(count, length, heads * len(gradients), head)
        by_size = shrinks[0].new_empty(count, length, sizes.numel())
        places, of_sizes = (x.transpose(1, 2).split(heads, 1) for x in (by_x, by_size))
        for n, (above, place) in enumerate(zip(gradients, places, strict=True)):
            slope = above
            if n < len(sizes):
                # y = s t(x) / |x| with a turn t: dx = t^-1(g - y <y, g> / s^2) s / |x|, ds = <y, g> / s
                g = above.to(kind, copy=True, memory_format=torch.contiguous_format)
                y, size = outs[n].to(kind, copy=True), sizes[n, :, None]
                along = (y * g).sum(-1)
                torch.div(along, size, out=of_sizes[n])
                slope = g.sub_(y.mul_((along / size.square())[..., None])).mul_(shrinks[n])
                if turns is not None:
                    _complex(slope).mul_(turns.conj())
            place.copy_(slope)
        return by_x, None, by_size.sum((0, 1)).view_as(sizes) if ctx.needs_input_grad[2] else None


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def turn(x: Tensor, turns: Tensor | None, sizes: Tensor) -> tuple[Tensor, ...]:
    """P parts (B, H, L, head) of vectors (B, L, P H, head), of which the first come turned and brought to
    the lengths `sizes` (parts, H), and those after them as they are.

    `turns` (L, head / 2) are unit complex numbers, one an adjacent pair of channels; None turns nothing.
    """
    out: tuple[Tensor, ...] = _Turn.apply(x, turns, sizes)
    return out


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        out = devices.linear(x, weight, bias, relu)
        ctx.save_for_backward(x, weight, out if relu else None)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _only_once()
        x, weight, out = ctx.saved_tensors
        g = gradients[0]
        if out is not None:
            g = torch.ops.aten.threshold_backward(g, out, 0)
        flat, rows = g.flatten(0, -2), x.flatten(0, -2)
        # The narrower of the two is the one that is transposed.
        by_weight = flat.T @ rows if flat.shape[1] <= rows.shape[1] else (rows.T @ flat).T
        return (g @ weight if ctx.needs_input_grad[0] else None), by_weight, flat.sum(0), None


def linear(x: Tensor, weight: Tensor, bias: Tensor, relu: bool = False) -> Tensor:
    """x W^T + b of x (..., C), and its ReLU if asked for, in one pass over what comes out."""
    out: Tensor = _Linear.apply(x, weight, bias, relu)
    return out


class _CodeLosses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, codes: Tensor, differentiable: bool
    ) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(len(hidden), dtype=wide)
        # softmax less one-hot
        errors = hidden.new_empty(len(hidden), len(weight)) if differentiable else None
        for start in range(0, len(hidden), ROWS):
            rows = slice(start, start + ROWS)
            chances = F.linear(hidden[rows], weight, bias).softmax(-1, dtype=wide)
            own = torch.arange(len(chances), device=codes.device), codes[rows]
            losses[rows] = -chances[own].clamp_min(LEAST).log()
            if errors is not None:
                chances[own] -= 1
                errors[rows] = chances
        ctx.save_for_backward(hidden, weight, errors)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _only_once()
        hidden, weight, errors = ctx.saved_tensors
        g = gradients[0][:, None].to(hidden.dtype)
        # What comes from above scales the narrow side of each product; weights and biases share one.
        by_both = errors.T @ torch.cat([hidden * g, g], 1)
        return (errors @ weight) * g, by_both[:, :-1], by_both[:, -1], None, None


def code_losses(hidden: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Cross-entropies (N,) float32 of codes (N,) under logits of states (N, C), a few rows at a time.

    Of the logits only their slopes are kept, in the states' own type.
    """
    out: Tensor = _CodeLosses.apply(hidden, weight, bias, codes, torch.is_grad_enabled())
    return out


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, shift: Tensor, parts: Any) -> Tensor:
        shape = q.shape
        q, k, v = (x.flatten(0, 1) for x in (q, k, v))
        out, kept = torch.empty_like(q), []
        for first, last, seen in parts:
            e = q[:, first:last] @ k[:, :seen].contiguous().mT
            of_heads = e.unflatten(0, shape[:2])
            torch.add(shift[..., first:last, :seen], of_heads, alpha=LOG2E, out=of_heads).exp2_()
            share = e.sum(-1, keepdim=True, dtype=torch.promote_types(q.dtype, torch.float32))
            share = share.clamp_min(LEAST).reciprocal().to(q.dtype)
            torch.mul(e @ v[:, :seen], share, out=out[:, first:last])
            kept += [e, share]
        ctx.save_for_backward(q, k, v, out, *kept)
        ctx.parts = parts
        return out.view(shape)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        _only_once()
        q, k, v, out, *kept = ctx.saved_tensors
        g = gradients[0].flatten(0, 1)
        by_q, by_k, by_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for number, (first, last, seen) in enumerate(ctx.parts):
            e, share = kept[2 * number : 2 * number + 2]
            scaled = g[:, first:last] * share
            by_v[:, :seen] += e.mT @ scaled
            # ds = p (g v - <g, out>), with p = e times its row's share
            along = (scaled * out[:, first:last]).sum(-1, keepdim=True)
            slope = torch.baddbmm(along, scaled, v[:, :seen].contiguous().mT, beta=-1).mul_(e)
            by_q[:, first:last] = slope @ k[:, :seen]
            by_k[:, :seen] += slope.mT @ q[:, first:last]
        heads = gradients[0].shape[:2]
        return by_q.unflatten(0, heads), by_k.unflatten(0, heads), by_v.unflatten(0, heads), None, None


@dataclass(frozen=True)
class Sight:
    """Which keys the queries see: by an additive `mask` (B or 1, 1, Lq or 1, Lk), or None for all.

    Of `parts`, (first, last, seen), queries first .. last - 1 see none but the first `seen` keys anyway.
    """

    mask: Tensor | None
    parts: tuple[tuple[int, int, int], ...]


def attend(q: Tensor, k: Tensor, v: Tensor, sight: Sight, most: Tensor) -> Tensor:
    """softmax(q k + mask) v of (B, H, L, head), where no product q k of a head is above its `most` (H,).

    The bound takes the place of each row's maximum, so that no pass looks for it; where all logits of a
    row lie 80 below it, they count for nothing.
    """
    mask = q.new_zeros(1, 1, 1, k.shape[2]) if sight.mask is None else sight.mask.to(q.dtype)
    shift = LOG2E * (mask - most.to(q.dtype)[:, None, None])
    out: Tensor = _Attend.apply(q, k, v, shift.expand(-1, -1, q.shape[2], -1), sight.parts)
    return out
