"""A gate that compares groups: weights, gradients and ratings; and why the paper's gate carries nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY, write_encoded
from rater_helpers import BUDGET, SETTINGS, new_rater, of_credit, run_of, train_rater

from alchemist.core import stateless
from alchemist.core.scratch import Scratch
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.star.generator import StarCodec, StarGenerator
from alchemist.families.star.tokenizer import Tokenizer, TokenizerConfig
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.raters import meta, score
from alchemist.raters.compared import Compared
from alchemist.raters.groups import Groups, of_pool
from alchemist.raters.network import Group, Rater, batch_weights, rate
from alchemist.raters.steps import rater_loss

LENGTHS = GroupsSettings(by="caption_length", count=4, a_step=2)


def of_groups(groups: GroupsSettings = LENGTHS, **values: object) -> meta.MetaRater:
    return of_credit("penalty", group="compared", groups=groups, **values)


@pytest.fixture
def rater(codec: StarCodec) -> Rater:
    return new_rater(codec).eval()


def features(groups: int, each: int, seed: int = 0) -> torch.Tensor:
    """(groups x each, 64), the groups with means of their own."""
    rng = torch.Generator().manual_seed(seed)
    apart = torch.randn(groups, 1, TINY.width, generator=rng)
    return (torch.randn(groups, each, TINY.width, generator=rng) + apart).flatten(0, 1)


# ------------------------------------------------------------------------------ the paper's gate


@pytest.mark.parametrize("count", [15, 63, 255, 1023])
def test_beside_a_fixed_group_a_pair_moves_the_gates_input_by_its_share_of_it(
    rater: Rater, count: int
) -> None:
    """The mean by (f_x - f_y) / (R + 1), the variance by O(1 / R): what is left of any two pairs."""
    some = features(1, 40)
    heard: list[torch.Tensor] = []
    hook = rater.group.register_forward_hook(lambda module, given, out: heard.append(given[0].double()))
    members = features(1, count, 1)
    rate(rater, some, Group.of(rater, members), "product", None)
    hook.remove()
    mean, variance = heard[0].split(TINY.width, -1)
    wide = some.double()
    apart = (wide[:, None] - wide[None]).abs().amax()
    spread = (mean[:, None] - mean[None]).abs().amax()
    assert float(spread) == pytest.approx(float(apart) / (count + 1), rel=1e-4)
    largest = max(float(wide.abs().max()), float(members.abs().max()))
    most = (2 * largest * float(apart) + 2 * largest * float(apart)) / (count + 1)
    assert float((variance[:, None] - variance[None]).abs().amax()) <= most


def test_the_papers_gate_orders_fewer_pairs_the_larger_the_fixed_group(
    tmp_path: Path, data: Encoded, codec: StarCodec
) -> None:
    """Of a trained rater: what its gate makes of any two pairs falls as 1 / (R + 1), so that with many pairs
    its ratings have the order of those without it."""
    trained, _ = train_rater(tmp_path, data, codec, settings=SETTINGS)
    seen = score.pooled_features(trained, data, data.pool().numbers, 20)
    spreads, agreement = {}, {}
    for times in (1, 4, 16):
        beside = Group.of(trained, seen.repeat(times, 1))
        found = {group: rate(trained, seen, beside, group, 2.0).numpy() for group in ("product", "none")}
        gates = np.log(found["product"] / found["none"])
        spreads[times] = (gates.max() - gates.min()) * (80 * times + 1)
        agreement[times] = spearman(found["product"], found["none"])
    assert max(spreads.values()) < 1.5 * min(spreads.values())
    assert agreement[1] < agreement[4] < agreement[16]
    assert agreement[16] > 0.999
    apart = {times: 1 - found for times, found in agreement.items()}
    assert apart[16] < apart[4] / 2 < apart[1] / 4


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(pd.Series(a).corr(pd.Series(b), method="spearman"))


@pytest.mark.parametrize(("baseline", "sign"), [(6.0, -1), (0.0, 1)])
def test_the_papers_gate_is_pushed_one_way(codec: StarCodec, baseline: float, sign: int) -> None:
    """Up its gradient is the weights' mean of loss less baseline: against the mean loss never above zero once
    lower losses weigh more, and against none never below, whatever the batch is made of."""
    torch.manual_seed(0)
    network = new_rater(codec)
    seen = torch.randn(64, TINY.width)
    losses, signs = 6 + seen[:, 0], []
    adam = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(200):
        rows = torch.from_numpy(stateless.generator("one way", step).choice(64, 32, replace=False))
        weights = batch_weights(network, seen[rows], "product", 2.0)
        weights.gate.retain_grad()
        adam.zero_grad()
        rater_loss(weights.rating, baseline - losses[rows]).backward()
        signs.append(float(weights.gate.grad))
        adam.step()
    assert all(np.sign(one) == sign for one in signs[50:])


# ------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("bound", [None, 0.5])
def test_weights_are_a_softmax_of_groups_times_one_within_each(rater: Rater, bound: float | None) -> None:
    some = 4 * features(4, 8)
    weights = batch_weights(rater, some, "compared", bound, 4)
    assert float(weights.shares.sum().detach()) == pytest.approx(1.0)
    assert torch.equal(weights.shares, weights.rating)
    between = weights.shares.detach().view(4, 8).sum(1)
    assert float(weights.gate.detach()) == pytest.approx(float(between.max()))
    with torch.no_grad():
        logits = rater.logits(some).view(4, 8)
        means, variances = some.view(4, 8, -1).mean(1), some.view(4, 8, -1).var(1, correction=1)
        gates = rater.group_logits(means, variances)
    for one, logit in ((between, gates), *zip(weights.shares.detach().view(4, 8), logits, strict=True)):
        centred = logit - logit.mean()
        if bound is not None:
            centred = centred * min(1.0, bound / float(centred.abs().max()))
        torch.testing.assert_close(one / one.sum(), centred.softmax(0))


def test_the_gates_gradient_sums_to_zero_and_no_constant_credit_moves_it(rater: Rater) -> None:
    """d loss / d a_g = s_g (sum over h of s_h C_h - C_g), where C is a group's weighted mean credit."""
    some, credits = features(4, 8), torch.randn(32, generator=torch.Generator().manual_seed(2))
    last, found = rater.group[2], {}
    for shift in (0.0, 100.0):
        heard: list[torch.Tensor] = []

        def hear(module: object, given: object, out: torch.Tensor) -> None:
            out.retain_grad()
            heard.append(out)  # noqa: B023

        hook = last.register_forward_hook(hear)
        weights = batch_weights(rater, some, "compared", None, 4)
        rater_loss(weights.rating, credits + shift).backward()
        hook.remove()
        found[shift] = heard[0].grad.squeeze(-1)
    shares = weights.shares.detach().view(4, 8)
    between, means = shares.sum(1), (shares * credits.view(4, 8)).sum(1) / shares.sum(1)
    wanted = between * ((between * means).sum() - means)
    torch.testing.assert_close(found[0.0], wanted, rtol=1e-4, atol=1e-6)
    assert float(found[0.0].sum()) == pytest.approx(0, abs=1e-6)
    assert float(found[0.0].abs().max()) > 1e-3
    torch.testing.assert_close(found[100.0], found[0.0], rtol=0, atol=1e-4)


def test_the_gate_sees_no_scale_and_no_shift_of_all_channels(rater: Rater) -> None:
    mean, variance = torch.randn(4, TINY.width), torch.rand(4, TINY.width)
    plain = rater.group_logits(mean, variance)
    torch.testing.assert_close(rater.group_logits(3 * mean + 7, 9 * variance), plain, rtol=1e-3, atol=1e-3)
    assert float(plain.std().detach()) > 1e-3


# ------------------------------------------------------------------------------ ratings


def known(data: Encoded, rater: Rater, count: int = 15, batch: int = 7) -> tuple[Groups, Compared]:
    groups = of_pool(run_of(data, lambda seed: None), LENGTHS, "raters.x.groups")  # type: ignore[arg-type, return-value]
    members = groups.members(0, count)
    seen = score.pooled_features(rater, data, np.concatenate(members), batch)
    return groups, Compared.of(rater, seen, [len(one) for one in members], groups, 2.0)


def test_ratings_are_a_groups_share_of_the_pool_times_a_pairs_of_its_group(
    data: Encoded, rater: Rater
) -> None:
    """Against the definition, with all pairs of the pool as members: then their mean is one."""
    groups, beside = known(data, rater, 1000)
    pool = data.pool()
    found = score.rate_pool(rater, data, pool, beside, of_groups(), 20, lambda n: None, groups)
    assert found.mean() == pytest.approx(1.0)
    seen = score.pooled_features(rater, data, pool.numbers, 20)
    labels = groups.labels[pool.numbers]
    with torch.no_grad():
        logits = rater.logits(seen).double().numpy()
        parts = [seen[labels == g].double() for g in range(len(groups.rows))]
        gates = np.array(
            [float(rater.group_logits(p.mean(0).float(), p.var(0, correction=1).float())) for p in parts]
        )
    share = groups.sizes() / groups.sizes().sum()
    gates = shrunk(gates - share @ gates)
    weight = np.exp(gates) / (share @ np.exp(gates))
    for g in range(len(parts)):
        own = np.exp(shrunk(logits[labels == g] - logits[labels == g].mean()))
        np.testing.assert_allclose(found[labels == g], weight[g] * own / own.mean(), rtol=1e-5)
        assert found[labels == g].mean() == pytest.approx(weight[g], rel=1e-5)
        assert beside.facts(groups)[g]["weight"] == pytest.approx(weight[g], rel=1e-5)


def shrunk(centred: np.ndarray) -> np.ndarray:
    return centred * min(1.0, 2.0 / np.abs(centred).max())


def test_ratings_depend_on_no_neighbour(data: Encoded, rater: Rater) -> None:
    groups, beside = known(data, rater)
    pool, settings = data.pool(), of_groups()

    def ratings(rows: PoolRows, batch: int) -> np.ndarray:
        return score.rate_pool(rater, data, rows, beside, settings, batch, lambda n: None, groups)

    whole = ratings(pool, 80)
    assert whole.std() > 0
    for batch in (1, 7, 256):
        np.testing.assert_allclose(ratings(pool, batch), whole, rtol=1e-5)
    turned = PoolRows(pool.numbers[::-1].copy())
    np.testing.assert_allclose(ratings(turned, 7)[::-1], whole, rtol=1e-5)
    np.testing.assert_allclose(ratings(PoolRows(pool.numbers[10:20]), 3), whole[10:20], rtol=1e-5)
    other = known(data, rater, batch=3)[1]
    np.testing.assert_allclose(other.gains.numpy(), beside.gains.numpy(), rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------ a planted bad group


def planted(folder: Path, config: TokenizerConfig) -> tuple[Encoded, np.ndarray]:
    """1500 pairs of a pool of six sources, one with captions of the other kind; 500 to validate."""
    rng = stateless.generator("planted group")
    kind, source = rng.integers(0, 2, 2000), rng.integers(0, 6, 2000)
    wrong = source == 3
    half = config.codes // 2
    tokens = half * kind[:, None] + rng.integers(0, half, (2000, config.tokens))
    states = [np.zeros((2, 384), np.float16), *rng.normal(size=(2, 2, 384)).astype(np.float16)]
    rows = pd.DataFrame(
        {
            "id": np.arange(2000).astype(str), "split": ["pool"] * 1500 + ["meta_val"] * 500,
            "text": 1 + (kind ^ wrong), "lent": False, "cluster": 0,
            "origin": [f"source-{one}" for one in source],
        }
    )  # fmt: skip
    folder.mkdir()
    return write_encoded(folder, rows, tokens.astype(np.uint16), states), source[:1500]


def test_the_gate_finds_a_source_of_wrong_captions(tmp_path: Path) -> None:
    config = TokenizerConfig(resolution=8, scales=(1, 2), codes=64, channels=8, width=16)
    codec = StarCodec(Tokenizer(config))
    data, _ = planted(tmp_path / "data", config)
    asked = GroupsSettings(by="source", count=6, a_step=4)
    settings = of_groups(asked, upper_weight=0.9, upper_decay=0.02)
    values = {"images": 6400, "batch": 32, "warmup_images": 160, "caption_dropout": 0.0}
    budget = BUDGET.model_copy(update=values)
    size = TINY.model_copy(update={"depth": 1, "width": 32})
    network, pool = new_rater(codec, size, 1), data.pool()
    with Scratch(tmp_path / "scratch", "m") as scratch:
        run = run_of(data, lambda seed: StarGenerator(size, codec, seed), scratch, 1, budget)
        groups = of_pool(run, asked, "raters.x.groups")
        run = replace(run, groups=groups)
        meta.meta_train(run, settings, network)
    members = groups.members(1, 255)
    seen = score.pooled_features(network.eval(), data, np.concatenate(members), 255)
    beside = Compared.of(network, seen, [len(one) for one in members], groups, 2.0)
    weights = {one["name"]: one["weight"] for one in beside.facts(groups)}
    assert min(weights, key=lambda name: weights[name]) == "source-3"
    assert weights["source-3"] < 0.5
    ratings = score.rate_pool(network, data, pool, beside, settings, 500, lambda n: None, groups)
    bad = groups.labels[pool.numbers] == groups.names.index("source-3")
    ranks = ratings.argsort().argsort()
    auc = (ranks[~bad].sum() - (~bad).sum() * ((~bad).sum() - 1) / 2) / (bad.sum() * (~bad).sum())
    assert auc > 0.9
