"""Exact credits: how much more weight on a train sample would lower the validation loss.

The inner problem takes K weighted steps, theta <- theta - step(sum_i W_i g_i), and the validation loss f
is taken at their end. Credit c_i of step t is -df(theta_K) / dW_i of that step: positive where the sample
helps. K = 1 with plain gradient steps is the exact one-step credit eta <g_i, v> (Ren et al. 2018 take it at
W = 0); K steps of Adam are DataRater's (Calian et al. 2025), with the adjoint loop of
MixFlow-MG (Kemaev et al. 2025): forward mode over reverse mode, never reverse over reverse, so that the
activations of one step alone are held.

Everything here is generic over a function `losses(parameters, batch)` that gives per-sample losses (B,)
of named detached tensors, so that a quadratic and a transformer share the code. Whoever writes such a
function keeps it free of chance: one fixed drop-path mask a batch, no dropout. It also chooses the type
of its products, for all passes alike; forward mode runs it on plain operations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from alchemist.core import devices

Parameters = dict[str, Tensor]
B = TypeVar("B")
Losses = Callable[[Parameters, B], Tensor]


@dataclass(frozen=True)
class Part(Generic[B]):
    """Some rows of a batch, and what share of it they are."""

    batch: B
    rows: slice
    share: float


@dataclass(frozen=True)
class Whole(Generic[B]):
    """How a whole batch is passed: in which parts, and how what they give is made that of the batch.

    A process that is one of several passes some parts alone.
    """

    # Parts in order: every pass below takes one at a time, and sums what it gives.
    cut: Callable[[B], list[Part[B]]]
    summed: Callable[[Parameters], Parameters]  # sums over parts, of all processes
    joined: Callable[[B, Tensor], Tensor]  # values of the pairs that were passed, of all (B,)


def at_once(batch: B) -> list[Part[B]]:
    """A batch in one part."""
    return [Part(batch, slice(None), 1.0)]


ONE: Whole[Any] = Whole(at_once, lambda found: found, lambda batch, part: part)

SCALE_DECAY = 0.99  # of the running mean square of centred credits, a rater step


def gradient(
    losses: Losses[B], parameters: Parameters, batch: B, weights: Tensor | None, whole: Whole[B] = ONE
) -> tuple[Parameters, Tensor]:
    """Gradient of sum_i W_i L_i (of the mean where weights are None), and the losses (B,).

    One forward and one backward pass.
    """
    leaves = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    found, every = Parameters(), list[Tensor]()
    for part in whole.cut(batch):
        with torch.enable_grad():
            values = losses(leaves, part.batch)
            if weights is None:
                loss = values.mean() * part.share
            else:
                loss = (weights.detach()[part.rows] * values).sum()
        slope = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
        _add(found, dict(zip(leaves, slope, strict=True)))
        every.append(values.detach())
    return whole.summed(found), whole.joined(batch, torch.cat(every))


def _add(found: Parameters, more: Parameters) -> None:
    for name, value in more.items():
        found[name] = found[name] + value if name in found else value


def slopes(
    losses: Losses[B], parameters: Parameters, batch: B, direction: Parameters, whole: Whole[B] = ONE
) -> Tensor:
    """<g_i, direction> of every sample, (B,): one forward-mode pass, no gradient of a sample is formed."""

    def of(part: B) -> Tensor:
        found: Tensor = torch.func.jvp(lambda p: losses(p, part), (parameters,), (direction,))[1]
        return found

    with torch.no_grad(), devices.plain_operations():
        return whole.joined(batch, torch.cat([of(part.batch) for part in whole.cut(batch)]))


def slopes_and_curvature(
    losses: Losses[B], parameters: Parameters, batch: B, weights: Tensor, direction: Parameters,
    whole: Whole[B] = ONE,
) -> tuple[Tensor, Parameters]:  # fmt: skip
    """<g_i, direction> (B,) and H direction, H the Hessian of sum_i W_i L_i.

    One pass of forward mode over reverse mode gives both.
    """

    def of(part: Part[B]) -> tuple[Parameters, Tensor]:
        def weighted(p: Parameters) -> tuple[Tensor, Tensor]:
            values = losses(p, part.batch)
            return (weights.detach()[part.rows] * values).sum(), values

        both: tuple[Parameters, Tensor]
        both = torch.func.jvp(torch.func.grad(weighted, has_aux=True), (parameters,), (direction,))[1]
        return both

    curved, found = Parameters(), list[Tensor]()
    with devices.plain_operations():
        for part in whole.cut(batch):
            own, slope = of(part)
            _add(curved, own)
            found.append(slope)
    return whole.joined(batch, torch.cat(found)), whole.summed(curved)


@dataclass(frozen=True)
class Moments:
    """Adam's running means of gradients and of their squares, after `steps` steps."""

    mean: Parameters
    square: Parameters
    steps: int


@dataclass(frozen=True)
class Sgd:
    """theta <- theta - rate g."""

    rate: float

    def advance(
        self, parameters: Parameters, moments: Moments | None, slope: Parameters
    ) -> tuple[Parameters, Moments | None]:
        """Parameters after a step on the gradient `slope`."""
        return {name: value - self.rate * slope[name] for name, value in parameters.items()}, moments

    def pull(
        self, adjoint: "Adjoint", after: Moments | None, slope: Parameters
    ) -> tuple[Parameters, "Adjoint"]:
        """See Adam.pull."""
        return {name: -self.rate * value for name, value in adjoint.parameters.items()}, adjoint


@dataclass(frozen=True)
class Adam:
    """AdamW as torch has it, unclipped; `decay` is the weight decay of each parameter."""

    rate: float
    betas: tuple[float, float]
    epsilon: float
    decay: dict[str, float]

    def advance(
        self, parameters: Parameters, moments: Moments | None, slope: Parameters
    ) -> tuple[Parameters, Moments]:
        """Parameters and moments after a step on the gradient `slope`."""
        assert moments is not None
        (first, second), steps = self.betas, moments.steps + 1
        mean = {n: first * moments.mean[n] + (1 - first) * g for n, g in slope.items()}
        square = {n: second * moments.square[n] + (1 - second) * g.square() for n, g in slope.items()}
        moved = {
            n: value * (1 - self.rate * self.decay[n])
            - self.rate / (1 - first**steps) * mean[n] / (self._root(square[n], steps) + self.epsilon)
            for n, value in parameters.items()
        }
        return moved, Moments(mean, square, steps)

    def _root(self, square: Tensor, steps: int) -> Tensor:
        return (square / (1 - self.betas[1] ** steps)).sqrt()

    def pull(
        self, adjoint: "Adjoint", after: Moments | None, slope: Parameters
    ) -> tuple[Parameters, "Adjoint"]:
        """One step backwards: df/dg of the step, and the adjoint before it, less what flows through g.

        Exact, second moments included: with s = sqrt(v_hat) the update's own derivative is
        -rate [(1 - b1) / ((1 - b1^t)(s + eps)) - m_hat (1 - b2) g / ((1 - b2^t) s (s + eps)^2)], to
        which later steps add what the moments carry on. Leaving the second term out, as if the
        preconditioner stood still, was 48 % off on a random third step.
        """
        assert after is not None
        (first, second), steps = self.betas, after.steps
        direction, parameters, mean, square = {}, {}, {}, {}
        for n, u in adjoint.parameters.items():
            root = self._root(after.square[n], steps)
            pace = self.rate / (1 - first**steps) / (root + self.epsilon)
            m = adjoint.mean[n] - u * pace
            # A parameter that has never had a gradient has s = 0, and g = 0: no way leads through it.
            bend = u * pace * after.mean[n] / (root + self.epsilon) / (2 * (1 - second**steps) * root)
            v = adjoint.square[n] + torch.where(root > 0, bend, 0.0)
            direction[n] = (1 - first) * m + 2 * (1 - second) * slope[n] * v
            parameters[n] = u * (1 - self.rate * self.decay[n])
            mean[n], square[n] = first * m, second * v
        return direction, Adjoint(parameters, mean, square)


@dataclass(frozen=True)
class Adjoint:
    """df by the parameters and by both of Adam's moments, at one point of the unrolled steps."""

    parameters: Parameters
    mean: Parameters
    square: Parameters


@dataclass(frozen=True)
class Unrolled:
    """Of K inner steps: `credits` and `losses` (B,) of each, and the first step's weighted `gradient`."""

    credits: list[Tensor]
    losses: list[Tensor]
    gradient: Parameters


def unrolled(
    losses: Losses[B],
    parameters: Parameters,
    moments: Moments | None,
    rule: Sgd | Adam,
    batches: list[B],
    weights: list[Tensor],
    validation: B,
    whole: Whole[B] = ONE,
) -> Unrolled:
    """Credits c_i = -df(theta_K) / dW_i of K = len(batches) steps from `parameters`.

    f is the mean loss of `validation`; `moments` are None for Sgd.

    Passes (F forward, Bk backward): K (F + Bk) of train batches, F + Bk of the validation batch, K - 1
    forward-over-reverse passes (2 to 2.5 (F + Bk) each) and one forward-mode pass (2 to 2.5 F), since
    nothing is behind the first step to carry a curvature to. Memory: K copies of parameters, gradient
    and moments.
    """
    # --- K weighted steps forward: theta_t, the gradient there, Adam's moments after it
    path: list[tuple[Parameters, Parameters, Moments | None]] = []
    values = []
    here = parameters
    for batch, weight in zip(batches, weights, strict=True):
        slope, found = gradient(losses, here, batch, weight, whole)
        after, moments = rule.advance(here, moments, slope)
        path.append((here, slope, moments))
        values.append(found)
        here = after

    # --- grad f(theta_K), and back: df/dW_i of step t is <g_i, df/dg>, and the Hessian carries the rest on
    end, _ = gradient(losses, here, validation, None, whole)
    nothing = {name: torch.zeros_like(value) for name, value in end.items()}
    adjoint = Adjoint(end, nothing, nothing)
    credits: list[Tensor] = []
    for t in reversed(range(len(batches))):
        here, slope, after_step = path[t]
        direction, adjoint = rule.pull(adjoint, after_step, slope)
        if t == 0:
            credits.append(-slopes(losses, here, batches[0], direction, whole))
            break
        found, curved = slopes_and_curvature(losses, here, batches[t], weights[t], direction, whole)
        credits.append(-found)
        before = {name: value + curved[name] for name, value in adjoint.parameters.items()}
        adjoint = Adjoint(before, adjoint.mean, adjoint.square)
    return Unrolled(credits[::-1], values, path[0][1])


def alignment(
    losses: Losses[B], parameters: Parameters, rate: float, batch: B, weights: Tensor, validation: B,
    whole: Whole[B] = ONE,
) -> Unrolled:  # fmt: skip
    """Credits c_i = eta <g_i, v>, v = grad f(theta - eta sum_i W_i g_i): one plain step, exactly."""
    return unrolled(losses, parameters, None, Sgd(rate), [batch], [weights], validation, whole)


class Scale:
    """Running root mean square of centred credits, which makes a rater's rate comparable between credits.

    Exact credits are of the size eta |g|^2. A positive scalar changes no direction of a rater's step.
    """

    def __init__(self, device: torch.device) -> None:
        # decayed sums of squares and of ones
        self.state = torch.zeros(2, dtype=torch.float64, device=device)

    def update(self, credits: Tensor) -> Tensor:
        """Takes in credits (K, B), each row centred by its mean; returns the root mean square, a scalar."""
        seen = (credits - credits.mean(1, keepdim=True)).double().square().mean()
        self.state = SCALE_DECAY * self.state + (1 - SCALE_DECAY) * torch.stack([seen, torch.ones_like(seen)])
        return (self.state[0] / self.state[1]).sqrt()
