"""Exact credits against closed forms and autograd through the unrolled steps, all in float64."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import CPU, TINY, random_tokens
from torch import Tensor

from alchemist.core import devices
from alchemist.families.star import fused
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.families.star.tokenizer import Tokenizer
from alchemist.models.batch import Batch, Chance, Text
from alchemist.raters import credit
from alchemist.raters.steps import Losses, rater_loss

Pair = tuple[Tensor, Tensor]
RATE, COUNT = 0.05, 3


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Problem:
    """A model's losses with its parameters, three train batches and a validation batch."""

    def __init__(
        self, losses: credit.Losses[Any], parameters: credit.Parameters, batch: Callable[[int], Any]
    ):
        self.losses, self.parameters = losses, parameters
        self.batches, self.validation = [batch(1), batch(2), batch(3)], batch(9)
        self.weights = [numbers(COUNT, seed=20 + t).softmax(0) for t in range(3)]


def mlp(codes: Tokenizer) -> Problem:
    parameters = {
        "a": numbers(6, 5, seed=1), "b": numbers(6, seed=2), "c": numbers(6, seed=3),
        "unused": numbers(3, seed=4),
    }  # fmt: skip

    def losses(p: credit.Parameters, batch: Pair) -> Tensor:
        return ((batch[0] @ p["a"].T + p["b"]).tanh() @ p["c"] - batch[1]).square() / 2

    return Problem(
        losses, parameters, lambda seed: (numbers(COUNT, 5, seed=seed), numbers(COUNT, seed=seed + 50))
    )


def star(codes: Tokenizer, operations: Callable[[], Any] = devices.plain_operations) -> Problem:
    """The tiny STAR with float64 weights, one fixed drop-path mask a batch.

    Its passes run on plain operations, since autograd through the steps takes second derivatives.
    """
    wide = StarCodec(copy.deepcopy(codes).double())
    generator = StarGenerator(TINY.model_copy(update={"drop_path": 0.5}), wide, 0).double()
    with torch.no_grad():  # away from the start, where the head is almost zero
        for i, parameter in enumerate(generator.parameters()):
            parameter.add_(0.1 * numbers(*parameter.shape, seed=i))
    module = Losses(generator)

    def losses(p: credit.Parameters, batch: tuple[Batch, Chance]) -> Tensor:
        named = {f"generator.{name}": value for name, value in p.items()}
        with operations():
            return torch.func.functional_call(module, named, batch)

    def batch(seed: int) -> tuple[Batch, Chance]:
        # No padding: autograd's second derivative of a padded key's norm, which is zero, is no number.
        states = numbers(COUNT, 3, 384, seed=seed)
        text = Text(states, torch.ones(COUNT, 3, dtype=torch.bool), states.mean(1))
        return Batch({"tokens": random_tokens(codes, COUNT, seed)}, text), Chance.run(seed, 0, COUNT, True)

    return Problem(losses, {n: p.detach() for n, p in generator.named_parameters()}, batch)


@pytest.fixture(params=[mlp, star])
def problem(request: pytest.FixtureRequest, codes: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> Problem:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # STAR's casts to float32
    return request.param(codes)


def warm(problem: Problem, steps: int = 2) -> credit.Moments:
    """Moments as after some steps, by Adam's own formula from zero."""
    nothing = {n: torch.zeros_like(p) for n, p in problem.parameters.items()}
    moments, here = credit.Moments(nothing, nothing, 0), problem.parameters
    for t in range(steps):
        slope, _ = credit.gradient(problem.losses, here, problem.batches[t], None)
        here, moments = adam(problem).advance(here, moments, slope)
    return moments


def adam(problem: Problem) -> credit.Adam:
    return credit.Adam(
        0.01, (0.9, 0.95), 1e-8, {n: 0.05 * (p.ndim > 1) for n, p in problem.parameters.items()}
    )


def by_autograd(problem: Problem, moments: credit.Moments | None, rule: Any, count: int) -> list[Tensor]:
    """-df / dW by reverse mode through all steps: the method that credit.unrolled replaces."""
    weights = [w.clone().requires_grad_() for w in problem.weights[:count]]
    here = {n: p.clone().requires_grad_() for n, p in problem.parameters.items()}
    for batch, weight in zip(problem.batches, weights, strict=False):
        whole = (weight * problem.losses(here, batch)).sum()
        found = torch.autograd.grad(whole, list(here.values()), create_graph=True, materialize_grads=True)
        here, moments = rule.advance(here, moments, dict(zip(here, found, strict=True)))
    return list(torch.autograd.grad(-problem.losses(here, problem.validation).mean(), weights))


def by_us(problem: Problem, moments: credit.Moments | None, rule: Any, count: int) -> list[Tensor]:
    return credit.unrolled(
        problem.losses, problem.parameters, moments, rule, problem.batches[:count],
        problem.weights[:count], problem.validation,
    ).credits  # fmt: skip


def gradients(problem: Problem) -> list[credit.Parameters]:
    """The gradient of every sample of the first batch."""
    ones = torch.eye(COUNT, dtype=torch.float64)
    return [credit.gradient(problem.losses, problem.parameters, problem.batches[0], w)[0] for w in ones]


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


# --- closed forms ---


def regression(p: credit.Parameters, batch: Pair) -> Tensor:
    return (batch[0] @ p["theta"] - batch[1]).square() / 2


def test_one_step_of_linear_regression_has_the_known_credit() -> None:
    """Test 1: c = eta G v; central differences of the losses are exact for quadratics."""
    x, y, xv, yv = numbers(6, 4, seed=1), numbers(6, seed=2), numbers(3, 4, seed=3), numbers(3, seed=4)
    theta, weights = numbers(4, seed=5), torch.rand(6, dtype=torch.float64)
    found = credit.alignment(regression, {"theta": theta}, RATE, (x, y), weights, (xv, yv))
    per_sample = (x @ theta - y)[:, None] * x  # G
    v = ((xv @ (theta - RATE * weights @ per_sample) - yv)[:, None] * xv).mean(0)
    torch.testing.assert_close(found.credits[0], RATE * per_sample @ v, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.gradient["theta"], weights @ per_sample, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.losses[0], regression({"theta": theta}, (x, y)), rtol=0, atol=0)
    sides = [regression({"theta": theta + e * v}, (x, y)) for e in (1e-2, -1e-2)]
    differences = RATE * (sides[0] - sides[1]) / 2e-2
    torch.testing.assert_close(differences, found.credits[0], rtol=0, atol=1e-12)


def test_five_steps_on_a_common_hessian_have_the_known_credits() -> None:
    """Test 2: df/dz_j = W_j (k_j - sum W k), k_i = a_i' (I - M^K)' A (theta_K - v), M = I - eta A."""
    root, a, v = numbers(4, 4, seed=1), numbers(5, 4, seed=2), numbers(4, seed=3)
    hessian = root @ root.T / 4 + torch.eye(4, dtype=torch.float64)
    theta, z = numbers(4, seed=4), numbers(5, seed=5).requires_grad_()
    eta, steps = 0.1, 5

    def quadratic(p: credit.Parameters, points: Tensor) -> Tensor:
        return ((p["theta"] - points) @ hessian * (p["theta"] - points)).sum(1) / 2

    w = z.softmax(0)
    found = credit.unrolled(
        quadratic, {"theta": theta}, None, credit.Sgd(eta), [a] * steps, [w] * steps, v[None]
    )
    (ours,) = torch.autograd.grad(sum(rater_loss(w, c) for c in found.credits), z)
    contraction = torch.linalg.matrix_power(torch.eye(4, dtype=torch.float64) - eta * hessian, steps)
    share = w.detach()
    end = contraction @ theta + (torch.eye(4, dtype=torch.float64) - contraction) @ (share @ a)
    k = a @ (torch.eye(4, dtype=torch.float64) - contraction).T @ hessian @ (end - v)
    torch.testing.assert_close(ours, share * (k - share @ k), rtol=0, atol=1e-13)


@pytest.mark.parametrize("steps", [2, 5])
def test_adams_own_factor_has_its_closed_form(steps: int) -> None:
    """d(update)/dg = -lr [(1-b1)/((1-b1^t)(s+e)) - m_hat (1-b2) g / ((1-b2^t) s (s+e)^2)], and autograd's."""
    lr, b1, b2, e = 0.01, 0.9, 0.95, 1e-3
    rule = credit.Adam(lr, (b1, b2), e, {"p": 0.1})
    m, v, u = {"p": numbers(7, seed=1)}, {"p": numbers(7, seed=2).square()}, numbers(7, seed=3)
    g, theta = numbers(7, seed=4).requires_grad_(), numbers(7, seed=5).requires_grad_()
    moved, after = rule.advance({"p": theta}, credit.Moments(m, v, steps - 1), {"p": g})
    wanted = torch.autograd.grad((u * moved["p"]).sum(), [g, theta])
    nothing = {"p": torch.zeros(7, dtype=torch.float64)}
    direction, before = rule.pull(
        credit.Adjoint({"p": u}, nothing, nothing),
        credit.Moments({"p": after.mean["p"].detach()}, {"p": after.square["p"].detach()}, steps),
        {"p": g.detach()},
    )
    s = (after.square["p"] / (1 - b2**steps)).sqrt()
    mean = after.mean["p"] / (1 - b1**steps)
    form = (1 - b1) / ((1 - b1**steps) * (s + e)) - mean * (1 - b2) * g / ((1 - b2**steps) * s * (s + e) ** 2)
    torch.testing.assert_close(direction["p"], (-lr * u * form).detach(), rtol=1e-13, atol=0)
    torch.testing.assert_close(direction["p"], wanted[0], rtol=1e-13, atol=0)
    torch.testing.assert_close(before.parameters["p"], wanted[1], rtol=1e-14, atol=0)
    frozen = -lr * u * (1 - b1) / ((1 - b1**steps) * (s + e))
    assert relative(frozen.detach(), wanted[0]) > 0.01, "the second moment's part should matter here"


def test_adams_step_is_that_of_torch() -> None:
    weight = torch.nn.Parameter(numbers(4, 3, seed=1))
    theirs = torch.optim.AdamW([weight], lr=0.01, betas=(0.9, 0.95), weight_decay=0.05)
    rule = credit.Adam(0.01, (0.9, 0.95), 1e-8, {"p": 0.05})
    here = {"p": weight.detach().clone()}
    moments = credit.Moments({"p": torch.zeros(4, 3).double()}, {"p": torch.zeros(4, 3).double()}, 0)
    for t in range(4):
        weight.grad = numbers(4, 3, seed=10 + t)
        here, moments = rule.advance(here, moments, {"p": weight.grad})
        theirs.step()
    torch.testing.assert_close(here["p"], weight.detach(), rtol=1e-13, atol=1e-15)


# --- against autograd, on an MLP and on STAR ---


def test_one_step_equals_autograd_through_the_virtual_step(problem: Problem) -> None:
    """Test 4 (c), relative 1e-10; K = 1 is also eta <g_i, v> with every sample's gradient formed."""
    (found,) = by_us(problem, None, credit.Sgd(RATE), 1)
    (wanted,) = by_autograd(problem, None, credit.Sgd(RATE), 1)
    assert relative(found, wanted) < 1e-10
    weights, each = problem.weights[0], gradients(problem)
    after = {
        n: p - RATE * sum(weights[i] * each[i][n] for i in range(COUNT))
        for n, p in problem.parameters.items()
    }
    v, _ = credit.gradient(problem.losses, after, problem.validation, None)
    explicit = torch.stack([RATE * sum((g[n] * v[n]).sum() for n in v) for g in each])
    assert relative(found, explicit) < 1e-10


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_three_steps_equal_autograd_through_them(problem: Problem, kind: str) -> None:
    """Test 4 (d), relative 1e-8."""
    rule, moments = (credit.Sgd(RATE), None) if kind == "sgd" else (adam(problem), warm(problem))
    found, wanted = by_us(problem, moments, rule, 3), by_autograd(problem, moments, rule, 3)
    for t, (ours, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert bool(torch.isfinite(ours).all()), "a parameter without any gradient should do no harm"
        assert relative(ours, theirs) < 1e-8, f"step {t}"


def test_a_frozen_preconditioner_would_not_pass(codes: Tokenizer) -> None:
    """The test above tells the exact derivative of Adam from the common shortcut."""
    problem = mlp(codes)
    exact = by_us(problem, warm(problem), adam(problem), 3)

    class Frozen(credit.Adam):
        def pull(self, adjoint: Any, after: Any, slope: Any) -> Any:
            return super().pull(adjoint, after, {n: torch.zeros_like(g) for n, g in slope.items()})

    rule = Frozen(**vars(adam(problem)))
    assert relative(torch.cat(by_us(problem, warm(problem), rule, 3)), torch.cat(exact)) > 0.01


def test_central_differences_agree_until_float32_rounds_them_away(codes: Tokenizer) -> None:
    """Test 5: with e |u| = 1e-2 both precisions are near the forward-mode pass; at 1e-4 float32 is not."""
    problem = mlp(codes)
    batch = problem.batches[0]
    direction, _ = credit.gradient(problem.losses, problem.parameters, problem.validation, None)
    size = float(torch.cat([d.flatten() for d in direction.values()]).norm())
    exact = credit.slopes(problem.losses, problem.parameters, batch, direction)

    def error(length: float, dtype: torch.dtype) -> float:
        e = length / size
        sides = [
            problem.losses(
                {n: (p + sign * e * direction[n]).to(dtype) for n, p in problem.parameters.items()},
                tuple(part.to(dtype) for part in batch),
            )
            for sign in (1, -1)
        ]
        return relative((sides[0] - sides[1]).double() / (2 * e), exact)

    assert error(1e-2, torch.float64) < 5e-5
    assert error(1e-3, torch.float64) < error(1e-2, torch.float64) / 50, "the error falls as e squared"
    assert error(1e-2, torch.float32) < 1e-4
    assert error(1e-4, torch.float32) > 5 * error(1e-2, torch.float32)


def test_a_copy_of_the_validation_sample_gets_the_largest_credit(problem: Problem) -> None:
    """Test 7: a credit is positive where the sample helps, and the rater's step raises its weight."""

    def row(item: Any, i: int) -> Any:
        if isinstance(item, Tensor):
            return item[i : i + 1]
        if isinstance(item, Chance):
            return item[i : i + 1]
        if isinstance(item, dict):
            return {name: row(part, i) for name, part in item.items()}
        if isinstance(item, tuple):
            return tuple(row(part, i) for part in item)
        return type(item)(*(row(part, i) for part in vars(item).values()))

    # Only of the largest gradient is it certain (Cauchy-Schwarz).
    sizes = torch.stack([sum(g.square().sum() for g in each.values()) for each in gradients(problem)])
    batch, largest = problem.batches[0], int(sizes.argmax())
    (c,) = credit.alignment(
        problem.losses, problem.parameters, 1e-6, batch, problem.weights[0], row(batch, largest)
    ).credits
    assert int(c.argmax()) == largest
    assert float(c[largest]) == pytest.approx(1e-6 * float(sizes[largest]), rel=1e-3)
    z = torch.zeros(COUNT, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(rater_loss(z.softmax(0), c), z)
    assert int((-gradient).argmax()) == largest, "descending should raise its weight most"


def test_padded_captions_change_no_credit(codes: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    problem = star(codes)
    plain = by_us(problem, warm(problem), adam(problem), 2)
    problem.batches = [(Batch(b.inputs, b.text.padded(5)), chance) for b, chance in problem.batches]
    padded = by_us(problem, warm(problem), adam(problem), 2)
    assert relative(torch.stack(padded), torch.stack(plain)) < 1e-9


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_gradients_by_fused_functions_give_the_credits_of_plain_operations(
    codes: Tokenizer, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The K + 1 gradients run on them, the passes of forward mode do not."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    plain, few = star(codes), star(codes, contextlib.nullcontext)
    rule, moments = (credit.Sgd(RATE), None) if kind == "sgd" else (adam(plain), warm(plain))
    wanted = by_us(plain, moments, rule, 2)
    whole, ran = fused.code_losses, []
    monkeypatch.setattr(fused, "code_losses", lambda *a: ran.append(1) or whole(*a))
    found = by_us(few, moments, rule, 2)
    assert len(ran) == 3
    # The turns' unit numbers are float32, and the fused function takes them to be of length one.
    assert relative(torch.stack(found), torch.stack(wanted)) < 1e-8


def test_equal_inputs_give_equal_credits_bit_for_bit(problem: Problem) -> None:
    """Test 8."""
    for rule, moments in ((credit.Sgd(RATE), None), (adam(problem), warm(problem))):
        first, second = (torch.stack(by_us(problem, moments, rule, 2)) for _ in range(2))
        assert torch.equal(first, second)


# --- passes, attention, scale ---


class Counted(torch.autograd.Function):
    """The identity, which tells of every pass through it."""

    calls: list[str] = []  # noqa: RUF012

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        Counted.calls.append("forward")
        return x.clone()

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        Counted.calls.append("backward")
        return gradient

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor) -> Tensor:
        Counted.calls.append("tangent")
        return tangent.clone()


@pytest.mark.parametrize("steps", [1, 3])
def test_no_pass_is_taken_twice(codes: Tokenizer, steps: int) -> None:
    """K + 1 gradients, K - 1 forward-over-reverse passes and one forward-mode pass."""
    problem = mlp(codes)
    plain = problem.losses
    problem.losses = lambda p, batch: plain({**p, "c": Counted.apply(p["c"])}, batch)
    Counted.calls.clear()
    by_us(problem, warm(mlp(codes)), adam(problem), steps)
    counts = {name: Counted.calls.count(name) for name in ("forward", "backward", "tangent")}
    assert counts == {"forward": 2 * steps + 1, "backward": 2 * steps, "tangent": steps}


def test_attention_takes_forward_mode() -> None:
    """Torch's fused kernel has no rule for it, so that these passes run in plain products."""
    q, d = numbers(2, 2, 3, 8, seed=1), numbers(2, 2, 3, 8, seed=2)

    def losses(p: credit.Parameters, batch: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(p["q"], batch, batch).square().sum((1, 2, 3))

    batch = numbers(2, 2, 3, 8, seed=3)
    with pytest.raises(NotImplementedError), torch.no_grad():
        torch.func.jvp(lambda q: losses({"q": q}, batch), (q,), (d,))
    found = credit.slopes(losses, {"q": q}, batch, {"q": d})
    both, curved = credit.slopes_and_curvature(losses, {"q": q}, batch, torch.ones(2).double(), {"q": d})
    slope, _ = credit.gradient(losses, {"q": q}, batch, torch.ones(2).double())
    torch.testing.assert_close(found, both, rtol=1e-12, atol=0)
    assert float(found.sum()) == pytest.approx(float((slope["q"] * d).sum()), rel=1e-12)
    assert float(curved["q"].norm()) > 0


def test_scale_is_the_running_root_mean_square_of_centred_credits() -> None:
    scale, decay = credit.Scale(CPU), credit.SCALE_DECAY
    first, second = 3 * numbers(1, 8, seed=1), 0.1 * numbers(2, 8, seed=2) + 7
    squares = [float((c - c.mean(1, keepdim=True)).square().mean()) for c in (first, second)]
    assert float(scale.update(first)) == pytest.approx(squares[0] ** 0.5), "the first is not drawn to zero"
    wanted = ((decay * squares[0] + squares[1]) / (decay + 1)) ** 0.5
    assert float(scale.update(second)) == pytest.approx(wanted)
    again = credit.Scale(CPU)
    again.state = scale.state.clone()
    assert again.update(first) == scale.update(first), "its state is all of it"
