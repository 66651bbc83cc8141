"""A gate that compares groups, and none where they are: weights, gradients, ratings, a planted bad group."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from rater_helpers import (
    PLANTED_SCHEDULE,
    SOURCES,
    new_rater,
    of_credit,
    planted,
    rater_of_planted,
    run_of,
)

from alchemist.analysis.agreement import auc
from alchemist.core.settings.groups import GroupsSettings
from alchemist.families.star.generator import StarCodec
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.raters import meta, score
from alchemist.raters.compared import Compared
from alchemist.raters.groups import Groups, of_pool
from alchemist.raters.network import Rater, batch_weights
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


@pytest.mark.parametrize("bound", [None, 0.5])
def test_without_a_gate_groups_weigh_alike_and_their_pairs_as_with_it(
    rater: Rater, bound: float | None
) -> None:
    some = 4 * features(4, 8)
    with_it = batch_weights(rater, some, "compared", bound, 4).shares.view(4, 8)
    weights = batch_weights(rater, some, "within", bound, 4)
    without = weights.shares.view(4, 8)
    assert torch.equal(weights.shares, weights.rating)
    torch.testing.assert_close(without.sum(1), torch.full((4,), 0.25))
    torch.testing.assert_close(4 * without, with_it / with_it.sum(1, keepdim=True))
    assert float((with_it.sum(1) - 0.25).abs().max()) > 1e-3
    rater_loss(weights.rating, torch.arange(32.0)).backward()
    assert all(one.grad is None or not one.grad.any() for one in rater.group.parameters())
    assert any(one.grad is not None and one.grad.any() for one in rater.parameters())


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


def test_the_gate_finds_a_source_of_wrong_captions(tmp_path: Path) -> None:
    settings = of_groups(SOURCES, **PLANTED_SCHEDULE)
    data, codec = planted(tmp_path / "data")
    network, run = rater_of_planted(tmp_path / "scratch", data, codec, settings, 6400)
    groups, pool = run.groups, data.pool()
    assert groups is not None
    members = groups.members(1, 255)
    seen = score.pooled_features(network, data, np.concatenate(members), 255)
    beside = Compared.of(network, seen, [len(one) for one in members], groups, 2.0)
    weights = {one["name"]: one["weight"] for one in beside.facts(groups)}
    assert min(weights, key=lambda name: weights[name]) == "source-3"
    assert weights["source-3"] < 0.5
    ratings = score.rate_pool(network, data, pool, beside, settings, 500, lambda n: None, groups)
    bad = groups.labels[pool.numbers] == groups.names.index("source-3")
    assert auc(pd.Series(ratings), ~bad) > 0.9
