"""One step: eqs. 4 to 6, 9 and 10 against closed forms, pass counts, and exact credits of the proxy."""

import copy

import numpy as np
import pytest
import torch
from conftest import TINY
from rater_helpers import (
    BUDGET,
    CREDITS,
    SETTINGS,
    new_rater,
    of_credit,
    sgd_state,
    step_of,
    weights_of,
)

from alchemist.core import stateless
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.models.encoded import Encoded
from alchemist.raters.network import Rater, Weights, batch_weights
from alchemist.raters.steps import (
    MetaState,
    Outcome,
    exact_credits,
    meta_window,
    pair_weights,
    proxy_step,
    rater_loss,
    rater_step,
    reference_step,
    start,
    take_over,
)

# --- losses of both networks ---


def test_rater_step_has_the_closed_form_gradient_and_ignores_constants() -> None:
    """-dR/dz_j = W_j (c_j - sum_i W_i c_i): metagradient.md, section 1."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(9, dtype=torch.float64, generator=rng, requires_grad=True)
    c = torch.randn(9, dtype=torch.float64, generator=rng)
    gradients = []
    for shift in (0.0, 5.0):
        weights = z.softmax(0)
        (found,) = torch.autograd.grad(rater_loss(weights, c + shift), z)
        gradients.append(found)
    wanted = -weights.detach() * (c - (weights.detach() * c).sum())
    torch.testing.assert_close(gradients[0], wanted, rtol=0, atol=1e-15)
    torch.testing.assert_close(gradients[1], wanted, rtol=0, atol=1e-14)


def test_penalty_credits_lose_the_validation_set_as_the_train_term_grows() -> None:
    """Test 3: on quadratics with one Hessian the proxy's loss is least at theta_g = (v + g abar) / (1 + g).

    Against the true derivative h_i = a_i (abar - v) of the loss, the mean cosine of what the
    rater's step descends on falls with g; eq. 6, c_i = g (L_i(abar) - L_i(theta_g)), is exactly
    -g / (1 + g) h for every g.
    """
    cosines: dict[float, list[float]] = {0.001: [], 1.0: [], 1000.0: []}
    for seed in range(200):
        rng = stateless.generator("quadratic", seed)
        a = torch.from_numpy(rng.normal(size=(32, 8)))
        v = torch.from_numpy(rng.normal(size=8) * 3 / 8**0.5)
        abar = a.mean(0)
        h = a @ (abar - v)
        h = h - h.mean()
        for g, found in cosines.items():
            theta = ((v + g * abar) / (1 + g)).requires_grad_()
            losses = (theta - a).square().sum(1) / 2
            validation = (theta - v).square().sum()[None] / 2
            z = torch.zeros(32, dtype=torch.float64, requires_grad=True)
            shares = z.softmax(0)
            weights = pair_weights(shares, 1 / (1 + g), 1)
            whole = (weights * torch.cat([validation, losses])).sum()
            (slope,) = torch.autograd.grad(whole, theta, retain_graph=True)
            torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
            (step,) = torch.autograd.grad(rater_loss(shares, -losses), z)
            found.append(float(torch.cosine_similarity(step, h, 0)))
            credits = g * ((abar - a).square().sum(1) / 2 - losses).detach()
            torch.testing.assert_close(credits - credits.mean(), -g / (1 + g) * h, rtol=1e-6, atol=1e-9)
    means = [float(np.mean(found)) for found in cosines.values()]
    assert means[0] > 0.6 > means[1] > 0.3 > abs(means[2])


def test_the_proxys_loss_weighs_train_samples_by_mean_one_weights() -> None:
    shares = torch.tensor([0.7, 0.2, 0.1], requires_grad=True)
    found = pair_weights(shares, 0.75, 2)
    torch.testing.assert_close(found, torch.tensor([0.375, 0.375, 0.175, 0.05, 0.025]))
    assert not found.requires_grad, "the proxy's step must not reach the rater"
    uniform = pair_weights(torch.full((3,), 1 / 3), 0.0, 1) @ torch.tensor([9.0, 1.0, 2.0, 6.0])
    assert float(uniform) == pytest.approx(3.0), "uniform weights give the plain mean loss"


# --- passes, and what a window moves ---


class Tally:
    """Counts passes through a network's first block by kind and batch size."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.calls: list[tuple[str, int]] = []
        tally = self.calls

        class Identity(torch.autograd.Function):
            @staticmethod
            def forward(x: torch.Tensor) -> torch.Tensor:
                tally.append(("forward", len(x)))
                return x.clone()

            @staticmethod
            def setup_context(ctx: object, inputs: object, output: object) -> None:
                pass

            @staticmethod
            def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
                tally.append(("backward", len(gradient)))
                return gradient

            @staticmethod
            def jvp(ctx: object, tangent: torch.Tensor) -> torch.Tensor:
                tally.append(("tangent", len(tangent)))
                return tangent.clone()

        network.blocks[0].register_forward_hook(lambda m, i, out: (Identity.apply(out[0]), *out[1:]))

    def of(self, kind: str) -> list[int]:
        return [size for name, size in self.calls if name == kind]


# Of 8 pairs a batch, 16 where a pass takes both; the proxy's passes are those of the credit before those
# of its own step.
PASSES = {
    # credit, u: the proxy's forward, backward and tangent passes
    ("penalty", 1.0): ([8, 8], [8], []),
    ("penalty", 0.7): ([16], [16], []),
    ("reference", 0.7): ([16], [16], []),
    # train, validation behind the virtual step, forward mode; then validation alone, u of 1 or not
    ("alignment", 1.0): ([8, 8, 8, 8], [8, 8, 8], [8]),
    ("alignment", 0.7): ([8, 8, 8, 8], [8, 8, 8], [8]),
    # K = 3: three steps, validation, two passes of forward over reverse, one of forward mode; then
    # validation alone, and two common steps
    ("unrolled", 0.7): ([8] * 4 + [8] * 3 + [8, 16, 16], [8] * 4 + [8] * 2 + [8, 16, 16], [8] * 3),
}


@pytest.mark.parametrize(("credit", "upper"), PASSES)
def test_a_step_takes_no_pass_that_it_does_not_need(
    data: Encoded, codec: StarCodec, credit: str, upper: float
) -> None:
    """Metagradient.md, section 2: nothing is computed twice."""
    state, settings, width = sgd_state(codec), of_credit(credit), 3 if credit == "unrolled" else 1
    window = [step_of(data, upper, t) for t in range(width)]
    tallies = Tally(state.proxy.star), Tally(state.rater.trunk)
    if credit == "reference":
        state.reference = StarGenerator(TINY, codec, 1)
        state.reference_adam = torch.optim.SGD(state.reference.parameters(), 0.1)
        reference = Tally(state.reference.star)
    outcomes = meta_window(state, window, settings, BUDGET)
    found = tuple(tallies[0].of(kind) for kind in ("forward", "backward", "tangent"))
    assert found == PASSES[credit, upper]
    assert (tallies[1].of("forward"), tallies[1].of("backward")) == ([8] * width, [8] * width)
    if credit == "reference":
        assert (reference.of("forward"), reference.of("backward")) == ([8], [8])
    for outcome in outcomes:
        assert outcome.validation.shape == outcome.train.shape == outcome.credit.shape == (8,)


@pytest.mark.parametrize("credit", CREDITS)
def test_both_networks_move_and_the_credits_are_those_before_the_step(
    data: Encoded, codec: StarCodec, credit: str
) -> None:
    state, step = sgd_state(codec), step_of(data, 0.7)
    if credit == "reference":
        state.reference = StarGenerator(TINY, codec, 1)
        state.reference_adam = torch.optim.SGD(state.reference.parameters(), 0.1)
    with torch.no_grad():
        losses = state.proxy.losses(step.train, step.train_chance)
        other = losses if state.reference is None else state.reference.losses(step.train, step.train_chance)
    before = [p.clone() for p in (*state.proxy.parameters(), *state.rater.parameters())]
    (outcome,) = meta_window(state, [step], of_credit(credit), BUDGET)
    torch.testing.assert_close(outcome.train, losses, rtol=0, atol=1e-5)
    if credit == "penalty":
        torch.testing.assert_close(outcome.credit, -losses, rtol=0, atol=1e-5)
    elif credit == "reference":
        torch.testing.assert_close(outcome.credit, other - losses, rtol=0, atol=1e-5)
    else:
        centred = outcome.credit - outcome.credit.mean()
        assert float(centred.square().mean()) == pytest.approx(1.0, rel=1e-4), "scaled by their size"
    after = [*state.proxy.parameters(), *state.rater.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) > 0.8 * len(moved)


@pytest.mark.parametrize(("precision", "near"), [("fp32", 1e-4), ("bf16", 2e-2)])
@pytest.mark.parametrize("upper", [1.0, 0.6])
def test_the_proxy_takes_the_same_step_whatever_the_credit(
    data: Encoded, codec: StarCodec, upper: float, precision: str, near: float
) -> None:
    """Also where it takes the train gradient over from the credit; under one drop-path mask."""
    size = TINY.model_copy(update={"drop_path": 0.5})
    ends = []
    for credit in ("penalty", "alignment"):
        state, step = sgd_state(codec, size), step_of(data, upper, training=True)
        before = weights_of(state.proxy)
        meta_window(state, [step], of_credit(credit), BUDGET.model_copy(update={"precision": precision}))
        ends.append(weights_of(state.proxy) - before)
    assert float((ends[0] - ends[1]).norm() / ends[0].norm()) < near


@pytest.mark.parametrize("name", ["alignment", "unrolled"])
def test_exact_credits_are_of_the_budgets_precision(data: Encoded, codec: StarCodec, name: str) -> None:
    """In bf16 every pass is, and the credits stay near those of fp32; what they are summed in is float32."""
    size, settings = TINY.model_copy(update={"drop_path": 0.3}), of_credit(name)
    window = [step_of(data, 0.7, t, training=True) for t in range(1 if name == "alignment" else 2)]
    weights = [Weights(torch.full((8,), 1 / 8), torch.full((8,), 1 / 8), torch.tensor(1.0))] * len(window)
    found = {}
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        proxy, seen = StarGenerator(size, codec, 0), set[torch.dtype]()
        with torch.no_grad():
            proxy.star.head.weight.mul_(50)  # away from the start, where the head is almost zero
        state = start(proxy, new_rater(codec), settings, BUDGET)
        proxy_step(state, step_of(data, 0.7, 3), weights[0].shares, BUDGET)
        proxy.star.blocks[1].register_forward_hook(lambda m, i, out, seen=seen: seen.add(out[0].dtype))
        exact = exact_credits(state, window, weights, settings, precision)
        assert exact is not None
        assert seen == {dtype}
        found[precision] = torch.stack(exact.credits)
        assert found[precision].dtype == torch.float32
        assert {g.dtype for g in exact.gradient.values()} == {torch.float32}
    error = float((found["bf16"] - found["fp32"]).norm() / found["fp32"].norm())
    assert 1e-5 < error < 0.05


def test_exact_credits_of_the_proxy_are_the_change_of_its_validation_loss(
    data: Encoded, codec: StarCodec
) -> None:
    """Against a difference: the same steps by torch's AdamW, with weights moved up and down their credits."""
    size = TINY.model_copy(update={"depth": 1})
    window = [step_of(data, 0.7, t) for t in range(2)]
    weights = [Weights(torch.full((8,), 1 / 8), torch.full((8,), 1 / 8), torch.tensor(1.0))] * 2

    def warmed() -> MetaState:
        state = start(StarGenerator(size, codec, 0), new_rater(codec), of_credit("unrolled"), BUDGET)
        for t in range(3):
            proxy_step(state, step_of(data, 0.7, 3 + t), weights[0].shares, BUDGET)
        return state

    exact = exact_credits(warmed(), window, weights, of_credit("unrolled"), "fp32")
    assert exact is not None

    def end(moved: int, by: float) -> float:
        state = warmed()
        for t, step in enumerate(window):
            shares = weights[t].shares + (by * exact.credits[t].sign() if t == moved else 0.0)
            state.proxy_adam.zero_grad()
            (shares * state.proxy.losses(step.train, step.train_chance)).sum().backward()
            state.proxy_adam.step()
        with torch.no_grad():
            last = window[-1]
            return float(state.proxy.losses(last.validation, last.validation_chance).double().mean())

    for t in range(2):
        difference = (end(t, 0.02) - end(t, -0.02)) / 0.04
        assert -difference == pytest.approx(float(exact.credits[t].abs().sum()), rel=0.03)


def test_credits_of_eq_6_are_none_while_both_models_are_one(data: Encoded, codec: StarCodec) -> None:
    """Their losses differ by rounding alone then, of which Adam would make a step as large as any."""
    budget = BUDGET.model_copy(update={"weight_decay": 0.0})
    state = start(StarGenerator(TINY, codec, 0), new_rater(codec), of_credit("reference"), budget)
    before = weights_of(state.rater).clone()
    for _ in range(2):
        (outcome,) = meta_window(state, [step_of(data, 0.7)], of_credit("reference"), budget)
        assert outcome.credit.any() == (not torch.equal(weights_of(state.rater), before))
    assert outcome.credit.abs().max() > 1e-4
    assert state.proxy_adam.state
    take_over(state)
    assert not state.proxy_adam.state, "its moments were of other weights"
    (outcome,) = meta_window(state, [step_of(data, 0.7)], of_credit("reference"), budget)
    assert not outcome.credit.any()


def test_the_reference_sees_train_pairs_alone_and_the_proxy_takes_its_weights_over(
    data: Encoded, codec: StarCodec
) -> None:
    """Eq. 4, theta := theta_hat, eq. 6: no step of the rater or the proxy before."""
    before = weights_of(new_rater(codec))
    state = start(StarGenerator(TINY, codec, 0), new_rater(codec), of_credit("reference"), BUDGET)
    assert state.reference is not None
    step, shares = step_of(data, 0.7), torch.linspace(0.05, 0.2, 8)
    plain = StarGenerator(TINY, codec, 0)
    adam = torch.optim.AdamW(plain.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    (shares * plain.losses(step.train, step.train_chance)).sum().backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), BUDGET.clip)
    adam.step()
    state.reference_adam = torch.optim.AdamW(
        state.reference.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0
    )
    reference_step(state, step, shares, BUDGET)
    torch.testing.assert_close(weights_of(state.reference), weights_of(plain), rtol=0, atol=1e-6)
    take_over(state)
    assert torch.equal(weights_of(state.proxy), weights_of(state.reference))
    assert torch.equal(weights_of(state.rater), before)


@pytest.mark.parametrize("credit", ["penalty", "alignment", "unrolled"])
def test_a_credit_without_a_reference_model_warms_its_proxy_and_starts_its_optimiser_afresh(
    data: Encoded, codec: StarCodec, credit: str
) -> None:
    settings, shares = of_credit(credit, reference_warmup=0.2), torch.full((8,), 1 / 8)
    state = start(StarGenerator(TINY, codec, 0), new_rater(codec), settings, BUDGET)
    beside = start(StarGenerator(TINY, codec, 0), new_rater(codec), of_credit("reference"), BUDGET)
    losses = [reference_step(one, step_of(data, 0.7), shares, BUDGET) for one in (state, beside)]
    assert torch.equal(*losses)
    assert state.proxy_adam.state
    assert set(state.taken_norms()) == {"proxy"}
    assert set(beside.taken_norms()) == {"reference"}
    moved = weights_of(state.proxy).clone()
    for one in (state, beside):
        take_over(one)
    assert torch.equal(weights_of(state.proxy), moved)
    assert torch.equal(weights_of(beside.proxy), moved)
    assert not state.proxy_adam.state, "its moments were of another loss"


# --- the rater's own step ---


def outcome_of(rater: Rater, features: torch.Tensor, group: str, seed: int) -> Outcome:
    """Losses of both batches with means far from each other, and credits that are minus the train losses."""
    rng = torch.Generator().manual_seed(seed)
    train, validation = 3 + torch.rand(len(features), generator=rng), 5 + torch.rand(4, generator=rng)
    weights = batch_weights(rater, features, group, None)
    return Outcome(validation, train, -train, weights, torch.ones((), dtype=torch.float64))


def gradient_of(
    rater: Rater, features: torch.Tensor, outcome: Outcome, group: str, baseline: float
) -> torch.Tensor:
    """Of -sum_i g s_i (c_i - b), by its closed forms in gate g and logits z, in float64.

    By g: -sum_i s_i (c_i - b). By z_j: -g s_j (c_j - sum_i s_i c_i), in which b cancels. Without the gate
    outside the softmax g is 1.
    """
    wide, x, c = copy.deepcopy(rater).double(), features.double(), outcome.credit.double()
    z, gate = wide.logits(x), wide.gate(x.mean(0), x.var(0, correction=0))
    s = z.detach().softmax(0)
    outside = gate.detach() if group == "product" else torch.ones(())
    by_z = -outside * s * (c - (s * c).sum())
    by_gate = -(s * (c - baseline)).sum() if group == "product" else torch.zeros(())
    parameters = [p for n, p in wide.named_parameters() if not n.startswith("trunk")]
    found = torch.autograd.grad((by_z * z).sum() + by_gate * gate, parameters)
    return torch.cat([part.flatten() for part in found])


@pytest.mark.parametrize("group", ["product", "none"])
@pytest.mark.parametrize("baseline", ["validation", "none"])
def test_a_rater_step_descends_the_closed_form_gradient_with_its_baseline(
    codec: StarCodec, group: str, baseline: str
) -> None:
    """Where the gate is inside the rating the baseline, minus the validation mean, moves the group head."""
    state, settings = sgd_state(codec), SETTINGS.model_copy(update={"group": group, "baseline": baseline})
    features = torch.randn(8, TINY.width, generator=torch.Generator().manual_seed(3))
    outcome = outcome_of(state.rater, features, group, 4)
    b = -float(outcome.validation.double().mean()) if baseline == "validation" else 0.0
    wanted = gradient_of(state.rater, features, outcome, group, b)
    heads = [p for n, p in state.rater.named_parameters() if not n.startswith("trunk")]
    before = torch.cat([p.detach().flatten() for p in heads])
    rater_step(state, [outcome], settings, clip=1e9)
    moved = torch.cat([p.detach().flatten() for p in heads]) - before
    torch.testing.assert_close(moved.double(), -0.1 * wanted, rtol=1e-3, atol=1e-6)
    # What the two would be mistaken for: its other sign, the train mean, none.
    for other in (-b, -float(outcome.train.double().mean())):
        mistaken = gradient_of(state.rater, features, outcome, group, other) if group == "product" else None
        assert (
            mistaken is None or other == b or float((mistaken - wanted).norm()) > 0.05 * float(wanted.norm())
        )


def test_a_rater_step_of_a_window_descends_the_sum_over_its_steps(codec: StarCodec) -> None:
    state = sgd_state(codec)
    rng = torch.Generator().manual_seed(3)
    many = [torch.randn(8, TINY.width, generator=rng) for _ in range(2)]
    outcomes = [outcome_of(state.rater, features, "product", t) for t, features in enumerate(many)]
    wanted = sum(
        gradient_of(state.rater, features, outcome, "product", -float(outcome.validation.double().mean()))
        for features, outcome in zip(many, outcomes, strict=True)
    )
    heads = [p for n, p in state.rater.named_parameters() if not n.startswith("trunk")]
    before = torch.cat([p.detach().flatten() for p in heads])
    rater_step(state, outcomes, SETTINGS, clip=1e9)
    moved = torch.cat([p.detach().flatten() for p in heads]) - before
    torch.testing.assert_close(moved.double(), -0.1 * wanted, rtol=1e-3, atol=1e-6)


def test_a_step_of_the_rater_is_clipped(codec: StarCodec) -> None:
    state = sgd_state(codec)
    features = torch.randn(8, TINY.width, generator=torch.Generator().manual_seed(3))
    before = weights_of(state.rater)
    rater_step(state, [outcome_of(state.rater, features, "product", 4)], SETTINGS, clip=0.01)
    assert float((weights_of(state.rater) - before).norm()) == pytest.approx(0.1 * 0.01, rel=1e-2)


def test_the_baseline_changes_no_step_of_softmax_weights(data: Encoded, codec: StarCodec) -> None:
    found = []
    for baseline in ("none", "validation"):
        state = sgd_state(codec)
        settings = SETTINGS.model_copy(update={"group": "none", "baseline": baseline})
        meta_window(state, [step_of(data, 0.7)], settings, BUDGET)
        found.append(weights_of(state.rater))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("credit", CREDITS)
def test_a_frozen_parameter_of_the_proxy_stays_and_no_credit_minds(
    data: Encoded, codec: StarCodec, credit: str
) -> None:
    """In the second window the proxy's optimiser has moments, but of the frozen parameter."""
    settings = of_credit(credit, reference_warmup=0.0 if credit == "reference" else None)
    proxy = StarGenerator(TINY, codec, 0)
    proxy.star.embed.weight.requires_grad_(False)
    frozen = proxy.star.embed.weight.clone()
    state = start(proxy, new_rater(codec), settings, BUDGET)
    width = settings.unroll_steps or 1
    for first in (0, 3):
        window = [step_of(data, 0.7, first + t) for t in range(width)]
        outcomes = meta_window(state, window, settings, BUDGET)
    assert torch.equal(proxy.star.embed.weight, frozen)
    assert all(bool(torch.isfinite(outcome.credit).all()) for outcome in outcomes)
    assert credit == "reference" or float(outcomes[-1].credit.abs().max()) > 0
