"""Meta-training: eq. 9 against closed forms, pass counts, and ratings that no neighbour changes."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.models import encoded
from alchemist.models.encoded import Batch, Encoded
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.raters import meta
from alchemist.raters.network import Rater, Reference, batch_weights, rate
from alchemist.settings.budget import RateSettings
from alchemist.settings.rater import MetaRater

SETTINGS = MetaRater(
    kind="meta", credit="penalty", reference_warmup=None, unroll_steps=None, group="product",
    rating_mode="reference_group", baseline="validation", bound=2.0,
    upper_weight=1.0, upper_decay=0.03, epochs=10, weights=None,
)  # fmt: skip
BUDGET = RateSettings(
    images=160, batch=8, proxy_learning_rate=1e-3, rater_learning_rate=1e-3, weight_decay=0.05, clip=2.0,
    warmup_images=16, caption_dropout=0.1, reference_group=15, score_batch=7, precision="fp32",
)  # fmt: skip
GROUPS = ("product", "temperature", "none")
CREDITS = ("penalty", "reference", "alignment", "unrolled")


def _of(credit: str, **values: object) -> MetaRater:
    """The settings of a credit, with others' values."""
    own = {
        "credit": credit,
        "baseline": "none",
        "reference_warmup": 0.2 if credit == "reference" else None,
        "unroll_steps": 3 if credit == "unrolled" else None,
    }
    return MetaRater(**{**SETTINGS.model_dump(), **own, **values})


@pytest.fixture
def rater(codes: Tokenizer) -> Rater:
    return Rater(TINY, codes, 0).eval()


# --- eq. 9 ---


def test_rater_step_has_the_closed_form_gradient_and_ignores_constants() -> None:
    """dR/dz_j = W_j (c_j - sum_i W_i c_i): metagradient.md, section 1."""
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(9, dtype=torch.float64, generator=rng, requires_grad=True)
    c = torch.randn(9, dtype=torch.float64, generator=rng)
    gradients = []
    for shift in (0.0, 5.0):
        weights = z.softmax(0)
        (found,) = torch.autograd.grad(meta.rater_loss(weights, c + shift), z)
        gradients.append(found)
    wanted = weights.detach() * (c - (weights.detach() * c).sum())
    torch.testing.assert_close(gradients[0], wanted, rtol=0, atol=1e-15)
    torch.testing.assert_close(gradients[1], wanted, rtol=0, atol=1e-14)


def test_penalty_credits_lose_the_validation_set_as_the_train_term_grows() -> None:
    """Test 3: on quadratics with one Hessian the proxy's loss is least at theta_g = (v + g abar) / (1 + g).

    Against the true derivative h_i = a_i (abar - v) of the loss, the mean cosine of what the
    rater's step descends on falls with g; eq. 6, c_i = g (L_i(theta_g) - L_i(abar)), is exactly
    g / (1 + g) h for every g.
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
            whole = meta.proxy_loss(validation, losses, shares, 1 / (1 + g))
            (slope,) = torch.autograd.grad(whole, theta, retain_graph=True)
            torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-9)
            (step,) = torch.autograd.grad(meta.rater_loss(shares, losses), z)
            found.append(float(torch.cosine_similarity(step, h, 0)))
            difference = g * (losses - (abar - a).square().sum(1) / 2).detach()
            torch.testing.assert_close(difference - difference.mean(), g / (1 + g) * h, rtol=1e-6, atol=1e-9)
    means = [float(np.mean(found)) for found in cosines.values()]
    assert means[0] > 0.6 > means[1] > 0.3 > abs(means[2])


# --- weights and the step ---


@pytest.mark.parametrize("group", GROUPS)
def test_one_softmax_and_mean_one_weights(rater: Rater, group: str) -> None:
    features = torch.randn(8, 64)
    weights = batch_weights(rater, features, group, None)
    logits = rater.logits(features)
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    scale = 0.5 + gate if group == "temperature" else 1.0
    wanted = ((logits - logits.mean()) * scale).softmax(0)
    torch.testing.assert_close(weights.shares, wanted)
    assert float((8 * weights.shares).mean().detach()) == pytest.approx(1.0)
    torch.testing.assert_close(weights.rating, wanted * (gate if group == "product" else 1.0))


def test_the_bound_holds_the_largest_logit_and_keeps_every_order(rater: Rater) -> None:
    features = torch.randn(64, 64) * 20
    free = batch_weights(rater, features, "none", None).shares.detach()
    bound = batch_weights(rater, features, "none", 0.3).shares.detach()
    logits = bound.log() - bound.log().mean()
    assert float(logits.abs().max()) == pytest.approx(0.3, rel=1e-3)
    assert float(1 / bound.square().sum() / 64) > 0.9, "no few weights take all"
    assert torch.equal(bound.argsort(), free.argsort())
    reference = Reference.of(rater, torch.randn(31, 64))
    far = rate(rater, features * 3, reference, "none", 0.3)
    assert len(np.unique(far)) == 64, "no two pairs end at one value"


def test_schedule_of_the_upper_weight() -> None:
    found = [meta.upper_weight(SETTINGS, step, 100) for step in (0, 9, 10, 55, 99)]
    assert found == pytest.approx([1.0, 1.0, 0.97, 0.85, 0.73])


def test_proxy_loss_weighs_train_samples_by_mean_one_weights() -> None:
    shares = torch.tensor([0.7, 0.2, 0.1], requires_grad=True)
    train = torch.tensor([1.0, 2.0, 4.0], requires_grad=True)
    loss = meta.proxy_loss(torch.tensor([3.0, 5.0]), train, shares, 0.75)
    assert float(loss.detach()) == pytest.approx(0.75 * 4 + 0.25 * (0.7 + 0.4 + 0.4))
    loss.backward()
    torch.testing.assert_close(train.grad, 0.25 * shares.detach())
    assert shares.grad is None, "the proxy's step must not reach the rater"
    uniform = meta.proxy_loss(torch.zeros(1), torch.tensor([1.0, 2.0, 6.0]), torch.full((3,), 1 / 3), 0.0)
    assert float(uniform) == pytest.approx(3.0), "uniform weights give the plain mean loss"


def _state(codes: Tokenizer) -> meta.MetaState:
    proxy, rater = StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0)
    return meta.MetaState(
        proxy, rater, torch.optim.SGD(proxy.parameters(), 0.1), torch.optim.SGD(rater.parameters(), 0.1)
    )


def _batches(data: Encoded, upper: float, start: int = 0) -> meta.Step:
    return meta.Step(
        data.batch(np.arange(80 + start, 88 + start)), data.batch(np.arange(start, start + 8)), upper
    )


def _weights_of(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


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
    data: Encoded, codes: Tokenizer, credit: str, upper: float
) -> None:
    """Metagradient.md, section 2: nothing is computed twice."""
    state, settings, width = _state(codes), _of(credit), 3 if credit == "unrolled" else 1
    window = [_batches(data, upper, t) for t in range(width)]
    tallies = Tally(state.proxy.star), Tally(state.rater.trunk)
    if credit == "reference":
        state.reference = StarGenerator(TINY, codes, 1)
        state.reference_adam = torch.optim.SGD(state.reference.parameters(), 0.1)
        reference = Tally(state.reference.star)
    outcomes = meta.meta_window(state, window, settings, BUDGET)
    found = tuple(tallies[0].of(kind) for kind in ("forward", "backward", "tangent"))
    assert found == PASSES[credit, upper]
    assert (tallies[1].of("forward"), tallies[1].of("backward")) == ([8] * width, [8] * width)
    if credit == "reference":
        assert (reference.of("forward"), reference.of("backward")) == ([8], [8])
    for outcome in outcomes:
        assert outcome.validation.shape == outcome.train.shape == outcome.credit.shape == (8,)


@pytest.mark.parametrize("credit", CREDITS)
def test_both_networks_move_and_the_credits_are_those_before_the_step(
    data: Encoded, codes: Tokenizer, credit: str
) -> None:
    state, step = _state(codes), _batches(data, 0.7)
    if credit == "reference":
        state.reference = StarGenerator(TINY, codes, 1)
        state.reference_adam = torch.optim.SGD(state.reference.parameters(), 0.1)
    with torch.no_grad():
        losses = state.proxy.losses(step.train)
        other = losses if state.reference is None else state.reference.losses(step.train)
    before = [p.clone() for p in (*state.proxy.parameters(), *state.rater.parameters())]
    (outcome,) = meta.meta_window(state, [step], _of(credit), BUDGET)
    torch.testing.assert_close(outcome.train, losses, rtol=0, atol=1e-5)
    if credit == "penalty":
        torch.testing.assert_close(outcome.credit, losses, rtol=0, atol=1e-5)
    elif credit == "reference":
        torch.testing.assert_close(outcome.credit, losses - other, rtol=0, atol=1e-5)
    else:
        centred = outcome.credit - outcome.credit.mean()
        assert float(centred.square().mean()) == pytest.approx(1.0, rel=1e-4), "scaled by their size"
    after = [*state.proxy.parameters(), *state.rater.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) > 0.8 * len(moved)


@pytest.mark.parametrize("upper", [1.0, 0.6])
def test_the_proxy_takes_the_same_step_whatever_the_credit(
    data: Encoded, codes: Tokenizer, upper: float
) -> None:
    """Also where it takes the train gradient over from the credit; under one drop-path mask."""
    keep = (torch.rand(16, TINY.depth, 2, generator=torch.Generator().manual_seed(0)) < 0.8) / 0.8
    ends = []
    for credit in ("penalty", "alignment"):
        state = _state(codes)
        step = dataclasses.replace(_batches(data, upper), proxy_keep=keep)
        meta.meta_window(state, [step], _of(credit), BUDGET)
        ends.append(_weights_of(state.proxy) - _weights_of(_state(codes).proxy))
    assert float((ends[0] - ends[1]).norm() / ends[0].norm()) < 1e-4


def test_exact_credits_of_the_proxy_are_the_change_of_its_validation_loss(
    data: Encoded, codes: Tokenizer
) -> None:
    """Against a difference: the same steps by torch's AdamW, with weights moved up and down their credits."""
    size = TINY.model_copy(update={"depth": 1})
    window = [_batches(data, 0.7, t) for t in range(2)]
    weights = [meta.Weights(torch.full((8,), 1 / 8), torch.full((8,), 1 / 8), torch.tensor(1.0))] * 2

    def warmed() -> meta.MetaState:
        state = meta.start(StarGenerator(size, codes, 0), Rater(TINY, codes, 0), _of("unrolled"), BUDGET)
        for t in range(3):
            meta.proxy_step(state, _batches(data, 0.7, 3 + t), weights[0].shares, BUDGET)
        return state

    exact = meta.exact_credits(warmed(), window, weights, _of("unrolled"))
    assert exact is not None

    def end(moved: int, by: float) -> float:
        state = warmed()
        for t, step in enumerate(window):
            shares = weights[t].shares + (by * exact.credits[t].sign() if t == moved else 0.0)
            state.proxy_adam.zero_grad()
            (shares * state.proxy.losses(step.train)).sum().backward()
            state.proxy_adam.step()
        with torch.no_grad():
            return float(state.proxy.losses(window[-1].validation).double().mean())

    for t in range(2):
        difference = (end(t, 0.02) - end(t, -0.02)) / 0.04
        assert difference == pytest.approx(float(exact.credits[t].abs().sum()), rel=0.03)


def test_the_reference_sees_train_pairs_alone_and_the_proxy_takes_its_weights_over(
    tmp_path: Path, data: Encoded, codes: Tokenizer
) -> None:
    """Eq. 4, theta := theta_hat, eq. 6: no step of the rater or the proxy before."""
    settings, seen = _of("reference", reference_warmup=0.5), []
    before = _weights_of(Rater(TINY, codes, 0))
    state = meta.start(StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0), settings, BUDGET)
    assert state.reference is not None
    step, shares = _batches(data, 0.7), torch.linspace(0.05, 0.2, 8)
    plain = StarGenerator(TINY, codes, 0)
    adam = torch.optim.AdamW(plain.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0)
    (shares * plain.losses(step.train)).sum().backward()
    torch.nn.utils.clip_grad_norm_(plain.parameters(), BUDGET.clip)
    adam.step()
    state.reference_adam = torch.optim.AdamW(
        state.reference.parameters(), 1e-3, betas=(0.9, 0.95), weight_decay=0.0
    )
    meta.reference_step(state, step, shares, BUDGET)
    torch.testing.assert_close(_weights_of(state.reference), _weights_of(plain), rtol=0, atol=1e-6)
    meta.take_over(state)
    assert torch.equal(_weights_of(state.proxy), _weights_of(state.reference))
    assert torch.equal(_weights_of(state.rater), before)
    _, log = _train(tmp_path, data, codes, lambda n, words: seen.append(words), settings)
    assert [words.startswith("warm-up") for words in seen] == [True] * 10 + [False] * 10
    assert log[0]["images"] == 88, "no rows before"
    assert log[0]["upper_weight"] == 1.0, "the schedule starts behind the warm-up"
    assert log[0]["credit_mean"] == pytest.approx(0, abs=1e-6), "at first both are one model"
    assert log[-1]["credit_mean"] > 0, "later only one of them trains on these pairs alone"


def test_a_window_counts_every_train_image_once(tmp_path: Path, data: Encoded, codes: Tokenizer) -> None:
    """20 steps in windows of 3, the last of 2; the rater rests in the first, without moments."""
    heard: list[int] = []
    proxies = []
    for credit in ("unrolled", "penalty"):
        proxy, rater = StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0)
        settings = _of(credit, group="none", upper_weight=1.0, upper_decay=0.0)
        with Scratch(tmp_path / credit, "m") as scratch:
            log = meta.meta_train(
                proxy, rater, data, data.split("pool"), data.split("meta_val"), settings, 0, BUDGET, scratch,
                lambda n, words: heard.append(n),
            )  # fmt: skip
        assert log[-1]["images"] == 160
        proxies.append(_weights_of(proxy))
    assert heard == [24] * 6 + [16] + [8] * 20
    # At u = 1 no weight reaches the proxy: it takes the same common steps, whose rates differ in warm-up.
    assert float((proxies[0] - proxies[1]).norm() / proxies[1].norm()) < 0.05
    state = meta.start(StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0), _of("unrolled"), BUDGET)
    meta.meta_window(state, [_batches(data, 1.0)], _of("unrolled"), BUDGET)
    assert torch.equal(_weights_of(state.rater), _weights_of(Rater(TINY, codes, 0)))
    meta.meta_window(state, [_batches(data, 1.0)], _of("unrolled"), BUDGET)
    assert not torch.equal(_weights_of(state.rater), _weights_of(Rater(TINY, codes, 0)))


def test_joined_batches_keep_each_samples_loss(data: Encoded, codes: Tokenizer) -> None:
    proxy = StarGenerator(TINY, codes, 0)
    a, b = data.batch(np.arange(5)), data.batch(np.array([80]), np.array([True]))
    together = proxy.losses(meta.joined(a, b))
    torch.testing.assert_close(together[:5], proxy.losses(a), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[5:], proxy.losses(b), rtol=0, atol=1e-5)


def _train(
    folder: Path,
    data: Encoded,
    codes: Tokenizer,
    tick: Callable[[int, str], object] = lambda n, words: None,
    settings: MetaRater = SETTINGS,
    images: int = 160,
) -> tuple[Rater, list[dict[str, float]]]:
    proxy, rater = StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0)
    with Scratch(folder, "m", every_seconds=0) as scratch:
        log = meta.meta_train(
            proxy, rater, data, data.split("pool"), data.split("meta_val"), settings, 0,
            BUDGET.model_copy(update={"images": images}), scratch, tick,
        )  # fmt: skip
    return rater.eval(), log


@pytest.mark.parametrize("credit", CREDITS)
def test_equal_seeds_give_equal_raters_bit_for_bit(
    tmp_path: Path, data: Encoded, codes: Tokenizer, credit: str
) -> None:
    """Test 8, and the log's figures lie where they can."""
    first, log = _train(tmp_path / "a", data, codes, settings=_of(credit), images=96)
    second, _ = _train(tmp_path / "b", data, codes, settings=_of(credit), images=96)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert all(1 / 8 - 1e-6 <= row["effective_sample_share"] <= 1 + 1e-6 for row in log)
    assert all(-1 <= row["weight_loss_correlation"] <= 1 for row in log)
    for row in log:
        assert row["weight_sd"] == pytest.approx((1 / row["effective_sample_share"] - 1) ** 0.5, abs=1e-3)
        assert -1 <= row["credit_loss_correlation"] <= 1
    assert credit == "reference" or log[0]["upper_weight"] == 1.0
    if credit == "penalty":
        assert all(row["credit_mean"] == row["train_loss"] for row in log)
    if credit in ("alignment", "unrolled"):
        assert all(0.1 < row["credit_sd"] / row["credit_scale"] < 10 for row in log[1:])


def _gate_after(codes: Tokenizer, group: str, baseline: float) -> tuple[float, float, float]:
    """Steps on fixed losses around 6: the last gate, how far late steps move the trunk's side of the
    instance head, and the correlation of ratings and losses."""
    torch.manual_seed(0)
    rater = Rater(TINY, codes, 0)
    features = torch.randn(64, 64)
    losses = 6 + features[:, 0]
    adam = torch.optim.AdamW(rater.parameters(), 3e-3)
    late = torch.zeros_like(rater.instance[0].weight)
    for step in range(300):
        rows = torch.from_numpy(stateless.generator("rows", step).choice(64, 16, replace=False))
        weights = batch_weights(rater, features[rows], group, 2.0)
        loss = meta.rater_loss(weights.rating, losses[rows] - baseline)
        adam.zero_grad()
        loss.backward()
        if step >= 200:
            late += rater.instance[0].weight.grad.abs()
        adam.step()
    ratings = rate(rater, features, Reference.of(rater, torch.randn(31, 64)), group, 2.0)
    correlation = float(np.corrcoef(np.log(ratings), losses.numpy())[0, 1])
    return float(weights.gate.detach()), float(late.mean()), correlation


@pytest.mark.parametrize("group", GROUPS)
def test_eq_9_moves_weight_to_low_losses_and_goes_on_learning(codes: Tokenizer, group: str) -> None:
    gate, late, correlation = _gate_after(codes, group, baseline=6.0)
    assert correlation < -0.5
    assert gate > 0.1
    assert late > 1e-4


def test_without_a_baseline_the_outside_gate_falls_to_zero(codes: Tokenizer) -> None:
    """Why `baseline: validation` is the default: eq. 9 to the letter stops the rater."""
    gate, late, _ = _gate_after(codes, "product", baseline=0.0)
    assert gate < 1e-3
    assert late < 1e-4


def test_the_baseline_changes_no_step_of_softmax_weights(data: Encoded, codes: Tokenizer) -> None:
    found = []
    for baseline in ("none", "validation"):
        state = _state(codes)
        settings = SETTINGS.model_copy(update={"group": "none", "baseline": baseline})
        meta.meta_window(state, [_batches(data, 0.7)], settings, BUDGET)
        found.append(_weights_of(state.rater))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("credit", "alive"), [*((credit, 56) for credit in CREDITS), ("reference", 8)])
def test_a_killed_rater_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data: Encoded, codes: Tokenizer, credit: str, alive: int
) -> None:
    """Killed late, and within the reference's warm-up of 16 images."""
    settings = _of(credit)
    whole, log = _train(tmp_path / "a", data, codes, settings=settings, images=96)

    class KilledError(Exception):
        pass

    seen: list[int] = []

    def tick(images: int, words: str) -> None:
        seen.append(images)
        if sum(seen) > alive:
            raise KilledError

    with pytest.raises(KilledError):
        _train(tmp_path / "b", data, codes, tick, settings, 96)
    resumed, later = _train(tmp_path / "b", data, codes, settings=settings, images=96)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)
    drop = {"seconds"}
    assert [{k: v for k, v in row.items() if k not in drop} for row in later] == [
        {k: v for k, v in row.items() if k not in drop} for row in log
    ]


# --- what a rater learns ---


def _shuffled(folder: Path, codes: Tokenizer) -> tuple[Encoded, np.ndarray]:
    """3000 pairs of a pool of which 30 % have the other kind's caption (true), and 1000 clean ones."""
    rng = stateless.generator("shuffled")
    kind, shuffled = rng.integers(0, 2, 4000), np.zeros(4000, dtype=bool)
    shuffled[:3000] = rng.random(3000) < 0.3
    half = codes.config.codes // 2
    tokens = half * kind[:, None] + rng.integers(0, half, (4000, codes.config.tokens))
    states = [np.zeros((2, 384), np.float16), *rng.normal(size=(2, 2, 384)).astype(np.float16)]
    split = ["pool"] * 3000 + ["meta_val"] * 1000
    rows = pd.DataFrame({"id": np.arange(4000).astype(str), "split": split, "text": 1 + (kind ^ shuffled)})
    folder.mkdir()
    encoded.write(folder, rows, tokens.astype(np.uint16), states)
    return Encoded(folder), shuffled[:3000]


@pytest.mark.parametrize("credit", ["alignment", "unrolled"])
def test_exact_credits_rate_shuffled_captions_down(tmp_path: Path, credit: str) -> None:
    """Test 6. The proxy is slow on purpose: once it has learned all that the validation pairs teach,
    exact credits are the noise of a validation batch, and a rater that trains on forgets.
    """
    torch.manual_seed(0)
    config = TokenizerConfig(resolution=8, scales=(1, 2), codes=64, channels=8, width=16)
    codes = Tokenizer(config).eval().requires_grad_(False)
    data, shuffled = _shuffled(tmp_path / "data", codes)
    settings = _of(credit, group="none", upper_weight=0.2, upper_decay=0.0)
    if credit == "unrolled":
        settings = settings.model_copy(update={"unroll_steps": 2})
    values = {"images": 6400, "batch": 64, "proxy_learning_rate": 3e-4, "rater_learning_rate": 3e-3}
    budget = BUDGET.model_copy(update={**values, "warmup_images": 160, "caption_dropout": 0.0})
    size = TINY.model_copy(update={"depth": 1, "width": 32})
    proxy, rater, pool = StarGenerator(size, codes, 1), Rater(size, codes, 1), data.split("pool")
    with Scratch(tmp_path / "scratch", "m") as scratch:
        meta.meta_train(
            proxy, rater, data, pool, data.split("meta_val"), settings, 1, budget, scratch, lambda n, w: None
        )
    rater.eval()
    group = meta.pooled_features(rater, data, meta.reference_rows(pool, 63, 1), 63, lambda n: None)
    ratings = meta.rate_pool(rater, data, pool, Reference.of(rater, group), settings, 500, lambda n: None)
    ranks, bad = ratings.argsort().argsort(), int(shuffled.sum())
    clean_above = (ranks[~shuffled].sum() - (3000 - bad) * (3000 - bad - 1) / 2) / (bad * (3000 - bad))
    assert clean_above > 0.8, "the chance that a clean pair has a higher rating than a shuffled one"


# --- ratings ---


@pytest.mark.parametrize("group", GROUPS)
def test_ratings_depend_on_no_neighbour(data: Encoded, codes: Tokenizer, rater: Rater, group: str) -> None:
    pool = data.split("pool")
    settings = SETTINGS.model_copy(update={"group": group})
    chosen = meta.reference_rows(pool, 15, 0)
    reference = Reference.of(rater, meta.pooled_features(rater, data, chosen, 7, lambda n: None))

    def ratings(rows: np.ndarray, batch: int) -> np.ndarray:
        return meta.rate_pool(rater, data, rows, reference, settings, batch, lambda n: None)

    whole = ratings(pool, 80)
    assert whole.std() > 0
    for batch in (1, 7, 256):
        np.testing.assert_allclose(ratings(pool, batch), whole, rtol=0, atol=1e-6)
    turned = pool[::-1].copy()
    np.testing.assert_allclose(ratings(turned, 7)[::-1], whole, rtol=0, atol=1e-6)
    np.testing.assert_allclose(ratings(pool[10:20], 3), whole[10:20], rtol=0, atol=1e-6)
    twice = np.array([pool[4], pool[9], pool[4]])
    again = ratings(twice, 3)
    assert again[0] == pytest.approx(again[2], abs=1e-9)


def test_published_weights_are_two_softmaxes_and_almost_uniform(rater: Rater) -> None:
    """Alchemist.md, 1.3 and 2: at 32 pairs no weight is more than 3 % from 1 / B, whatever the logits."""
    features = 3 * torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    weights = batch_weights(rater, features, "double_softmax", None)
    with torch.no_grad():
        gate = rater.gate(features.mean(0), features.var(0, correction=0))
        once = gate * torch.exp(torch.sigmoid(rater.logits(features)))
        once = once / torch.exp(torch.sigmoid(rater.logits(features))).sum()
        torch.testing.assert_close(weights.shares.detach(), once.exp() / once.exp().sum())
    outcome = meta.Outcome(torch.zeros(2), torch.arange(32.0), torch.arange(32.0), weights)
    assert 0 < meta.figures_of(outcome)["weight_sd"] < 0.03
    assert torch.equal(weights.shares, weights.rating), "eq. 9 differentiates the same number"
    extreme = torch.sigmoid(torch.tensor([50.0] + [-50.0] * 31)).softmax(0).softmax(0)
    assert float((32 * extreme - 1).abs().max()) < 0.06, "the largest gate and the furthest logits"


def test_published_ratings_depend_on_the_batch(data: Encoded, codes: Tokenizer, rater: Rater) -> None:
    """Gate times softmax of sigmoids over each batch of the pool's rows in their order."""
    pool = data.split("pool")
    settings = _of("penalty", group="double_softmax", rating_mode="batch", bound=None)

    def ratings(rows: np.ndarray, batch: int) -> np.ndarray:
        return meta.rate_pool(rater, data, rows, None, settings, batch, lambda n: None)

    whole = ratings(pool, 20)
    features = meta.pooled_features(rater, data, pool[20:40], 20, lambda n: None)
    with torch.no_grad():
        gate = float(rater.gate(features.mean(0), features.var(0, correction=0)))
        wanted = gate * torch.sigmoid(rater.logits(features)).softmax(0).numpy()
    np.testing.assert_allclose(whole[20:40], wanted, rtol=1e-5)
    assert not np.allclose(ratings(pool, 16)[:16], whole[:16], rtol=1e-3)
    shuffled = np.random.default_rng(0).permutation(80)
    again = np.empty(80)
    again[shuffled] = ratings(pool[shuffled], 20)
    assert np.abs(again / whole - 1).max() > 1e-6, "other neighbours give other ratings"
    assert np.array_equal(ratings(pool, 20), whole)


@pytest.mark.parametrize("bound", [None, 0.05])
def test_rating_is_the_share_beside_the_reference_group(rater: Rater, bound: float | None) -> None:
    """Against the definition, spelled out for one sample at a time."""
    group, features = torch.randn(255, 64), torch.randn(5, 64)
    reference = Reference.of(rater, group)
    found = rate(rater, features, reference, "product", bound)
    with torch.no_grad():
        logits = rater.logits(group).double()
        for i, x in enumerate(features):
            members = torch.cat([group, x[None]]).double()
            gate = float(rater.gate(members.mean(0).float(), members.var(0, correction=0).float()))
            z = torch.cat([logits, rater.logits(x[None]).double()]) - logits.mean()
            z = z if bound is None else z * min(1.0, bound / float((logits - logits.mean()).abs().max()))
            assert found[i] == pytest.approx(gate * float(z.softmax(0)[-1]), rel=1e-5)
    assert len(np.unique(meta.reference_rows(np.arange(1000), 255, 3))) == 255
    assert not np.array_equal(
        meta.reference_rows(np.arange(1000), 255, 4), meta.reference_rows(np.arange(1000), 255, 3)
    )


def test_losses_of_the_pool_do_not_depend_on_the_batch(data: Encoded, codes: Tokenizer) -> None:
    proxy, pool = StarGenerator(TINY, codes, 0), data.split("pool")
    whole = meta.pool_losses(proxy, data, pool, 80, lambda n: None)
    np.testing.assert_allclose(
        meta.pool_losses(proxy, data, pool, 7, lambda n: None), whole, rtol=0, atol=1e-5
    )
    one = proxy.losses(Batch(*vars(data.batch(pool[3:4])).values()))
    assert whole[3] == pytest.approx(float(one.detach()), abs=1e-5)
