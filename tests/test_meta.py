"""Meta-training: eq. 9 against closed forms, pass counts, and ratings that no neighbour changes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY

from alchemist import meta, stateless
from alchemist.encoded import Batch, Encoded
from alchemist.family import StarGenerator
from alchemist.rater import Rater, Reference, batch_weights, rate
from alchemist.scratch import Scratch
from alchemist.settings.budget import RateSettings
from alchemist.settings.rater import MetaRater
from alchemist.tokenizer import Tokenizer

SETTINGS = MetaRater(
    kind="meta", credit="penalty", group="product", baseline="validation", bound=2.0,
    upper_weight=1.0, upper_decay=0.03, epochs=10, seed=0,
)  # fmt: skip
BUDGET = RateSettings(
    images=160, batch=8, proxy_learning_rate=1e-3, rater_learning_rate=1e-3, weight_decay=0.05, clip=2.0,
    warmup_images=16, caption_dropout=0.1, reference_group=15, score_batch=7, precision="fp32",
)  # fmt: skip
GROUPS = ("product", "temperature", "none")


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


def test_one_sgd_step_of_linear_regression_has_the_known_meta_gradient() -> None:
    """Test 1: dL_val/dw = -eta G v for theta' = theta - eta sum_i w_i g_i."""
    rng = torch.Generator().manual_seed(1)
    x, y = (
        torch.randn(6, 4, dtype=torch.float64, generator=rng),
        torch.randn(6, dtype=torch.float64, generator=rng),
    )
    xv, yv = (
        torch.randn(3, 4, dtype=torch.float64, generator=rng),
        torch.randn(3, dtype=torch.float64, generator=rng),
    )
    theta = torch.randn(4, dtype=torch.float64, generator=rng)
    w = torch.rand(6, dtype=torch.float64, generator=rng, requires_grad=True)
    eta = 0.05
    per_sample = (x @ theta - y)[:, None] * x  # G
    stepped = theta - eta * (w[:, None] * per_sample).sum(0)
    loss = (xv @ stepped - yv).square().mean() / 2
    (found,) = torch.autograd.grad(loss, w)
    v = ((xv @ stepped - yv)[:, None] * xv).mean(0).detach()
    torch.testing.assert_close(found, -eta * per_sample @ v, rtol=0, atol=1e-14)


def test_unrolled_quadratic_has_the_known_meta_gradient() -> None:
    """Test 2: K = 5 steps on a common Hessian, softmax logits."""
    rng = torch.Generator().manual_seed(2)
    d, b, eta, steps = 4, 5, 0.1, 5
    root = torch.randn(d, d, dtype=torch.float64, generator=rng)
    hessian = root @ root.T / d + torch.eye(d, dtype=torch.float64)
    a = torch.randn(b, d, dtype=torch.float64, generator=rng)
    v, theta = (
        torch.randn(d, dtype=torch.float64, generator=rng),
        torch.randn(d, dtype=torch.float64, generator=rng),
    )
    z = torch.randn(b, dtype=torch.float64, generator=rng, requires_grad=True)
    weights = z.softmax(0)
    for _ in range(steps):
        theta = theta - eta * (weights[:, None] * ((theta - a) @ hessian)).sum(0)
    loss = (theta - v) @ hessian @ (theta - v) / 2
    (found,) = torch.autograd.grad(loss, z)
    contraction = torch.eye(d, dtype=torch.float64) - eta * hessian
    k = a @ (torch.eye(d, dtype=torch.float64) - torch.linalg.matrix_power(contraction, steps)).T
    k = (k @ hessian @ (theta.detach() - v)).detach()
    w = weights.detach()
    torch.testing.assert_close(found, w * (k - (w * k).sum()), rtol=0, atol=1e-13)


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


def test_a_validation_sample_in_the_train_batch_gets_the_most_negative_credit() -> None:
    """Test 7 for the exact one-step credit -eta <g_i, v>: the sign that rater_loss descends on."""
    rng = torch.Generator().manual_seed(3)
    x, theta = torch.randn(8, 5, dtype=torch.float64, generator=rng), torch.zeros(5, dtype=torch.float64)
    x = x / x.norm(dim=1, keepdim=True)
    y = torch.sign(torch.randn(8, dtype=torch.float64, generator=rng))
    per_sample = (x @ theta - y)[:, None] * x
    credit = -0.1 * per_sample @ per_sample[2]  # sample 2 is the validation set
    assert int(credit.argmin()) == 2
    z = torch.zeros(8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(meta.rater_loss(z.softmax(0), credit), z)
    assert int((-gradient).argmax()) == 2, "descending should raise its weight most"


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


@pytest.mark.parametrize(("upper", "proxy_calls"), [(1.0, 2), (0.7, 1)])
def test_a_step_takes_no_forward_pass_that_it_does_not_need(
    data: Encoded, codes: Tokenizer, upper: float, proxy_calls: int
) -> None:
    """One proxy pass over both batches (two halves while u = 1), one rater pass."""
    state, calls = _state(codes), []
    for network, name in ((state.proxy.star, "proxy"), (state.rater.trunk, "rater")):
        for part in (network.blocks[0],):
            part.register_forward_hook(lambda m, i, o, name=name: calls.append((name, len(i[0]))))
    train, validation = data.batch(np.arange(8)), data.batch(np.arange(80, 88))
    losses, credit, weights = meta.meta_step(state, validation, train, upper, SETTINGS, BUDGET)
    assert [name for name, _ in calls].count("rater") == 1
    assert [name for name, _ in calls].count("proxy") == proxy_calls
    assert sum(size for name, size in calls if name == "proxy") == 16
    assert losses.shape == credit.shape == weights.shares.shape == (8,)


def test_credits_are_the_losses_before_the_step_and_both_networks_move(
    data: Encoded, codes: Tokenizer
) -> None:
    state = _state(codes)
    train, validation = data.batch(np.arange(8)), data.batch(np.arange(80, 88))
    with torch.no_grad():
        wanted = state.proxy.losses(train)
    before = [p.clone() for p in (*state.proxy.parameters(), *state.rater.parameters())]
    _, credit, _ = meta.meta_step(state, validation, train, 0.7, SETTINGS, BUDGET)
    torch.testing.assert_close(credit, wanted, rtol=0, atol=1e-5)
    after = [*state.proxy.parameters(), *state.rater.parameters()]
    moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(moved) > 0.8 * len(moved)


def test_joined_batches_keep_each_samples_loss(data: Encoded, codes: Tokenizer) -> None:
    proxy = StarGenerator(TINY, codes, 0)
    a, b = data.batch(np.arange(5)), data.batch(np.array([80]), np.array([True]))
    together = proxy.losses(meta.joined(a, b))
    torch.testing.assert_close(together[:5], proxy.losses(a), rtol=0, atol=1e-5)
    torch.testing.assert_close(together[5:], proxy.losses(b), rtol=0, atol=1e-5)


def _train(
    folder: Path, data: Encoded, codes: Tokenizer, tick: Callable[[int, str], object] = lambda n, words: None
) -> tuple[Rater, list[dict[str, float]]]:
    proxy, rater = StarGenerator(TINY, codes, 0), Rater(TINY, codes, 0)
    with Scratch(folder, "m", every_seconds=0) as scratch:
        log = meta.meta_train(
            proxy, rater, data, data.split("pool"), data.split("meta_val"), SETTINGS, BUDGET, scratch, tick,
        )  # fmt: skip
    return rater.eval(), log


def test_equal_seeds_give_equal_raters_bit_for_bit(tmp_path: Path, data: Encoded, codes: Tokenizer) -> None:
    """Test 8, and the log's figures lie where they can."""
    first, log = _train(tmp_path / "a", data, codes)
    second, _ = _train(tmp_path / "b", data, codes)
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name
    assert all(1 / 8 - 1e-6 <= row["effective_sample_share"] <= 1 + 1e-6 for row in log)
    assert all(-1 <= row["weight_loss_correlation"] <= 1 for row in log)
    assert log[0]["upper_weight"] == 1.0


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
        batches = data.batch(np.arange(80, 88)), data.batch(np.arange(8))
        meta.meta_step(state, *batches, 0.7, settings, BUDGET)
        found.append(torch.cat([p.detach().flatten() for p in state.rater.parameters()]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=1e-6)


def test_a_killed_rater_run_ends_where_an_unbroken_one_does(
    tmp_path: Path, data: Encoded, codes: Tokenizer
) -> None:
    whole, log = _train(tmp_path / "a", data, codes)

    class KilledError(Exception):
        pass

    def tick(images: int, words: str) -> None:
        tick.seen += images  # type: ignore[attr-defined]
        if tick.seen > 80:  # type: ignore[attr-defined]
            raise KilledError

    tick.seen = 0  # type: ignore[attr-defined]
    with pytest.raises(KilledError):
        _train(tmp_path / "b", data, codes, tick)
    resumed, later = _train(tmp_path / "b", data, codes)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, msg=name)
    assert [row["images"] for row in later] == [row["images"] for row in log]


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
