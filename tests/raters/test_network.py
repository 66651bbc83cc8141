"""The rater: one softmax and a gate, the bound, the published numerics, ratings beside a group."""

import copy

import numpy as np
import pytest
import torch
from conftest import TINY
from rater_helpers import GROUPS, new_rater

from alchemist.core import stateless
from alchemist.families.star.generator import StarCodec, StarTrunk
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded
from alchemist.raters.meta import figures_of
from alchemist.raters.network import Group, Rater, batch_weights, rate
from alchemist.raters.steps import Outcome, rater_loss


@pytest.fixture
def rater(codec: StarCodec) -> Rater:
    return new_rater(codec).eval()


@pytest.mark.parametrize("group", GROUPS)
def test_one_softmax_and_mean_one_weights(rater: Rater, group: str) -> None:
    features = torch.randn(8, 64)
    weights = batch_weights(rater, features, group, None)
    logits = rater.logits(features)
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    scale = 0.5 + gate if group == "temperature" else 1.0
    wanted = ((logits - logits.mean()) * scale).softmax(0)
    torch.testing.assert_close(weights.shares, wanted)
    assert float((8 * weights.shares.detach()).mean()) == pytest.approx(1.0)
    torch.testing.assert_close(weights.rating, wanted * (gate if group == "product" else 1.0))


def test_the_bound_holds_the_largest_logit_and_keeps_every_order(rater: Rater) -> None:
    features = torch.randn(64, 64) * 20
    free = batch_weights(rater, features, "none", None).shares.detach()
    bound = batch_weights(rater, features, "none", 0.3).shares.detach()
    logits = bound.log() - bound.log().mean()
    assert float(logits.abs().max()) == pytest.approx(0.3, rel=1e-3)
    assert float(1 / bound.square().sum() / 64) > 0.9, "no few weights take all"
    assert torch.equal(bound.argsort(), free.argsort())
    beside = Group.of(rater, torch.randn(31, 64))
    far = rate(rater, features * 3, beside, "none", 0.3).numpy()
    assert len(np.unique(far)) == 64, "no two pairs end at one value"


def test_published_weights_are_two_softmaxes_and_almost_uniform(rater: Rater) -> None:
    """Alchemist.md, 1.3 and 2: at 32 pairs no weight is more than 3 % from 1 / B, whatever the logits."""
    features = 3 * torch.randn(32, 64, generator=torch.Generator().manual_seed(0))
    weights = batch_weights(rater, features, "double_softmax", None)
    with torch.no_grad():
        gate = rater.gate(features.mean(0), features.var(0, correction=0))
        once = gate * torch.exp(torch.sigmoid(rater.logits(features)))
        once = once / torch.exp(torch.sigmoid(rater.logits(features))).sum()
        torch.testing.assert_close(weights.shares.detach(), once.exp() / once.exp().sum())
    outcome = Outcome(torch.zeros(2), torch.arange(32.0), -torch.arange(32.0), weights, torch.ones(()))
    assert 0 < figures_of(outcome)["weight_sd"] < 0.03
    assert torch.equal(weights.shares, weights.rating), "eq. 9 differentiates the same number"
    extreme = torch.sigmoid(torch.tensor([50.0] + [-50.0] * 31)).softmax(0).softmax(0)
    assert float((32 * extreme - 1).abs().max()) < 0.06, "the largest gate and the furthest logits"


@pytest.mark.parametrize("bound", [None, 0.05])
def test_rating_is_the_share_beside_the_reference_group(rater: Rater, bound: float | None) -> None:
    """Against the definition, spelled out for one sample at a time."""
    members, features = torch.randn(255, 64), torch.randn(5, 64)
    found = rate(rater, features, Group.of(rater, members), "product", bound)
    with torch.no_grad():
        logits = rater.logits(members).double()
        for i, x in enumerate(features):
            both = torch.cat([members, x[None]]).double()
            gate = float(rater.gate(both.mean(0).float(), both.var(0, correction=0).float()))
            z = torch.cat([logits, rater.logits(x[None]).double()]) - logits.mean()
            z = z if bound is None else z * min(1.0, bound / float((logits - logits.mean()).abs().max()))
            assert float(found[i]) == pytest.approx(gate * float(z.softmax(0)[-1]), rel=1e-5)


def test_a_raters_weights_are_functions_of_its_seed(codec: StarCodec) -> None:
    trunk = StarTrunk(TINY, codec, 0)
    torch.manual_seed(1)
    first = Rater(copy.deepcopy(trunk), 7).state_dict()
    torch.manual_seed(2)
    second, other = Rater(copy.deepcopy(trunk), 7).state_dict(), Rater(copy.deepcopy(trunk), 8).state_dict()
    assert all(torch.equal(second[name], value) for name, value in first.items())
    assert not torch.equal(other["instance.0.weight"], first["instance.0.weight"])


def test_a_rater_sees_what_its_trunk_sees(data: Encoded, rater: Rater) -> None:
    batch, chance = data.batch(np.arange(4)), Chance.run(0, 0, 4)
    assert torch.equal(rater.features(batch, chance), rater.trunk.features(batch, chance))


def test_weight_decay_acts_on_matrices_and_in_the_trunk_as_its_family_has_it(rater: Rater) -> None:
    decays = {name: rater.decays(name, parameter) for name, parameter in rater.named_parameters()}
    assert decays["trunk.embed.weight"]
    assert decays["instance.0.weight"]
    assert decays["group.2.weight"]
    assert not any(decays[name] for name in ("trunk.level", "trunk.start_position", "instance.0.bias"))


# --- what eq. 9 does to the gate ---


def _gate_after(codec: StarCodec, group: str, baseline: float) -> tuple[float, float, float]:
    """Steps on fixed losses around 6: the last gate, how far late steps move the trunk's side of the
    instance head, and the correlation of ratings and losses."""
    torch.manual_seed(0)
    rater = new_rater(codec)
    features = torch.randn(64, TINY.width)
    losses = 6 + features[:, 0]
    adam = torch.optim.AdamW(rater.parameters(), 3e-3)
    late = torch.zeros_like(rater.instance[0].weight)
    for step in range(300):
        rows = torch.from_numpy(stateless.generator("rows", step).choice(64, 16, replace=False))
        weights = batch_weights(rater, features[rows], group, 2.0)
        loss = rater_loss(weights.rating, baseline - losses[rows])
        adam.zero_grad()
        loss.backward()
        if step >= 200:
            late += rater.instance[0].weight.grad.abs()
        adam.step()
    ratings = rate(rater, features, Group.of(rater, torch.randn(31, 64)), group, 2.0)
    correlation = float(torch.corrcoef(torch.stack([ratings.log(), losses.double()]))[0, 1])
    return float(weights.gate.detach()), float(late.mean()), correlation


@pytest.mark.parametrize("group", GROUPS)
def test_eq_9_moves_weight_to_low_losses_and_goes_on_learning(codec: StarCodec, group: str) -> None:
    gate, late, correlation = _gate_after(codec, group, baseline=6.0)
    assert correlation < -0.5
    assert gate > 0.1
    assert late > 1e-4


def test_without_a_baseline_the_outside_gate_falls_to_zero(codec: StarCodec) -> None:
    """Why `baseline: validation` is the default: eq. 9 to the letter stops the rater."""
    gate, late, _ = _gate_after(codec, "product", baseline=0.0)
    assert gate < 1e-3
    assert late < 1e-4
