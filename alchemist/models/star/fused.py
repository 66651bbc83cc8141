"""Steps of the transformer in few passes over memory, for training under autocast.

Each is an autograd function with a backward pass written out, in the products' own type. None has a
forward-mode rule or a second derivative: exact credits run the plain operations of `transformer`, and the
tests compare the two.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS = 256  # of logits at a time: 256 x 2,048 float32 stay near the core
LEAST = 1e-37  # a chance below counts as this one: a loss of at most 85 nats


class _Turn(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, turns: Tensor | None, sizes: Tensor) -> Tensor:
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        shrink = sizes / torch.linalg.vector_norm(wide, dim=-1).clamp_min(1e-12)  # (B, L, G)
        if turns is not None:
            wide = _real(_complex(wide) * turns)
        wide = wide * shrink[..., None]
        out = wide.transpose(1, 2).to(x.dtype, memory_format=torch.contiguous_format)
        ctx.save_for_backward(out, turns, sizes, shrink)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        out, turns, sizes, shrink = ctx.saved_tensors
        wide = torch.promote_types(out.dtype, torch.float32)
        g, y = (part.transpose(1, 2).to(wide) for part in (gradients[0], out))  # (B, L, G, head)
        # y = s t(x) / |x| with a turn t: dx = t^-1(g - y <y, g> / s^2) s / |x|, ds = <y, g> / s
        along = torch.linalg.vecdot(y, g)
        slope = (g - y * (along / sizes.square())[..., None]) * shrink[..., None]
        if turns is not None:
            slope = _real(_complex(slope) * turns.conj())
        by_size = (along / sizes).sum((0, 1)) if ctx.needs_input_grad[2] else None
        return slope.to(out.dtype), None, by_size


def _complex(x: Tensor) -> Tensor:
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)))


def _real(x: Tensor) -> Tensor:
    return torch.view_as_real(x).flatten(-2)


def turn(x: Tensor, turns: Tensor | None, sizes: Tensor) -> Tensor:
    """Vectors (B, L, G, head) turned and brought to the lengths `sizes` (G,): (B, G, L, head).

    `turns` (L, 1, head / 2) are unit complex numbers, one an adjacent pair of channels; None turns nothing.
    """
    out: Tensor = _Turn.apply(x, turns, sizes)
    return out


class _CodeLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        losses = hidden.new_empty(len(hidden), dtype=wide)
        errors = hidden.new_empty(len(hidden), len(weight))  # softmax less one-hot
        for start in range(0, len(hidden), ROWS):
            rows = slice(start, start + ROWS)
            chances = F.linear(hidden[rows], weight, bias).softmax(-1, dtype=wide)
            own = torch.arange(len(chances), device=codes.device), codes[rows]
            losses[rows] = -chances[own].clamp_min(LEAST).log()
            chances[own] -= 1
            errors[rows] = chances
        ctx.save_for_backward(hidden, weight, errors)
        return losses

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, errors = ctx.saved_tensors
        g = gradients[0][:, None].to(hidden.dtype)
        # What comes from above scales the narrow side of each product.
        return (errors @ weight) * g, errors.T @ (hidden * g), (errors.T @ g)[:, 0], None


def code_losses(hidden: Tensor, weight: Tensor, bias: Tensor, codes: Tensor) -> Tensor:
    """Cross-entropies (N,) float32 of codes (N,) under logits of states (N, C), a few rows at a time.

    Of the logits only their slopes are kept, in the states' own type.
    """
    out: Tensor = _CodeLosses.apply(hidden, weight, bias, codes)
    return out
