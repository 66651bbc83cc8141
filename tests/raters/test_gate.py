"""The paper's gate, the Group MLP, as it is written and as it was published: it orders no pairs, and why.

What it makes of a rating is what is lost where it is held still: the same network rates again with a gate
that gives one number, whatever it sees. Beside the paper's stands a gate that acts, group `compared`.
"""

import copy
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import TINY
from numpy.typing import NDArray
from rater_helpers import (
    BAD,
    PLANTED_SCHEDULE,
    SETTINGS,
    SOURCES,
    new_rater,
    of_credit,
    planted,
    rater_of_planted,
    train_rater,
)

from alchemist.analysis.agreement import auc
from alchemist.core import stateless
from alchemist.families.star.generator import StarCodec
from alchemist.models.encoded import Encoded, PoolRows
from alchemist.raters import score
from alchemist.raters.compared import Compared
from alchemist.raters.network import Group, Rater, batch_weights, rate
from alchemist.raters.proxy import Plain
from alchemist.raters.steps import rater_loss
from benchmarks.gate import held
from benchmarks.validation import agreement as spearman

Floats = NDArray[np.float64]
# The gate outside the softmax beside a baseline and by eq. 9 to the letter; in the temperature; as published.
PAPERS = {
    "product": of_credit("penalty", baseline="validation", **PLANTED_SCHEDULE),
    "literal": of_credit("penalty", **PLANTED_SCHEDULE),
    "temperature": of_credit("penalty", group="temperature", **PLANTED_SCHEDULE),
    "published": of_credit(
        "penalty", group="double_softmax", rating_mode="batch", bound=None, **PLANTED_SCHEDULE
    ),
}
SETTINGS_OF = {
    **PAPERS,
    "compared": of_credit("penalty", group="compared", groups=SOURCES, **PLANTED_SCHEDULE),
}


# ------------------------------------------------------------------------------ trained on a planted source


@dataclass(frozen=True)
class Trained:
    """A rater that was trained where one source of six has wrong captions, and what it makes of the pool."""

    name: str
    rater: Rater
    run: Plain
    seen: torch.Tensor  # features (N, C) of the pool

    def still(self) -> Rater:
        """The same network, whose gate gives its value at the pool and hears nothing."""
        return held(self.rater, self.seen)

    def ratings(self, rater: Rater, order: NDArray[np.int64] | None = None) -> Floats:
        """Of the pool as its settings have them, its rows rated in an order, 64 at once."""
        data, pool, settings = self.run.data, self.run.pool, SETTINGS_OF[self.name]
        order = np.arange(len(pool)) if order is None else order
        groups, beside = self.run.groups, None
        if groups is not None:
            known = groups.members(1, 255)
            counts, members = [len(one) for one in known], np.concatenate(known)
            features = score.pooled_features(rater, data, members, 255)
            beside = Compared.of(rater, features, counts, groups, settings.bound)
        elif settings.rating_mode == "reference_group":
            members = score.group_members(pool, 255, 1)
            beside = Group.of(rater, score.pooled_features(rater, data, members, 255))
        found = np.empty(len(pool))
        rows = PoolRows(pool.numbers[order])
        found[order] = score.rate_pool(rater, data, rows, beside, settings, 64, lambda n: None, groups)
        return found

    def logits(self) -> Floats:
        with torch.no_grad():
            return self.rater.logits(self.seen).double().numpy()

    def sources(self) -> NDArray[np.str_]:
        return self.run.data.rows["origin"].iloc[self.run.pool.numbers].to_numpy().astype(str)

    def tells_the_bad(self, rating: Floats) -> float:
        """AUC with which a rating has pairs of good sources above those of the bad one."""
        return auc(pd.Series(rating), self.sources() != BAD)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Trained]:
    """Of each settings' name a rater, trained on so many images at its first use."""
    folder = tmp_path_factory.mktemp("planted")
    data, codec = planted(folder / "data")

    @functools.cache
    def of(name: str, images: int = 3200) -> Trained:
        rater, run = rater_of_planted(folder / f"{name}-{images}", data, codec, SETTINGS_OF[name], images)
        return Trained(name, rater, run, score.pooled_features(rater, data, run.pool.numbers, 500))

    return of


def lost_without(one: Trained) -> tuple[float, float]:
    """Of a rating with its gate and with the gate held still: rank correlation, and what AUC falls by."""
    rating, still = one.ratings(one.rater), one.ratings(one.still())
    return spearman(rating, still), one.tells_the_bad(rating) - one.tells_the_bad(still)


@pytest.mark.parametrize(
    ("name", "least"), [("product", 0.999), ("literal", 0.98), ("temperature", 0.999), ("published", 0.999)]
)
def test_the_papers_gate_held_still_leaves_the_rating(
    trained: Callable[..., Trained], name: str, least: float
) -> None:
    """In every numerics, each in its own rating mode, and where a source of the pool is bad."""
    agreement, fall = lost_without(trained(name))
    assert agreement > least
    assert abs(fall) < 0.02


def test_a_gate_that_acts_held_still_takes_the_rating_along(trained: Callable[..., Trained]) -> None:
    """The same measure of the same pairs, by which the gate of group `compared` is seen."""
    agreement, fall = lost_without(trained("compared"))
    assert agreement < 0.9
    assert fall > 0.2


@pytest.mark.parametrize("name", SETTINGS_OF)
def test_the_papers_gate_leaves_a_batch_in_the_order_of_its_logits(
    trained: Callable[..., Trained], name: str
) -> None:
    """A number of the batch moves all of its weights alike; that of a group moves those of the group."""
    one, settings = trained(name), SETTINGS_OF[name]
    rows = np.argsort(one.sources(), kind="stable").reshape(6, -1)[:4, :8].ravel()
    seen = one.seen[torch.from_numpy(rows)].double()
    rater = copy.deepcopy(one.rater).double()
    with torch.no_grad():
        order = rater.logits(seen).argsort()
        weights = batch_weights(rater, seen, settings.group, settings.bound, 4).rating[order]
    assert bool((weights.diff() >= 0).all()) == (name != "compared")


# ------------------------------------------------------------------------------ rating_mode batch


def test_a_published_rating_tells_its_batch_by_the_softmax_and_not_by_the_gate(
    trained: Callable[..., Trained],
) -> None:
    """By one network: two orders of the rows give two rankings, and the gate has no part in that."""
    one, still = trained("published"), trained("published").still()
    logits = one.logits()
    orders = [stateless.generator("order", number).permutation(len(logits)) for number in range(2)]
    first, second = (one.ratings(one.rater, order) for order in orders)
    for batch in np.array_split(orders[0], range(64, len(logits), 64)):
        assert spearman(first[batch], logits[batch]) > 0.99, "its place within the batch"
    between = spearman(first, second)
    assert between < 0.9
    assert spearman(*(one.ratings(still, order) for order in orders)) == pytest.approx(between, abs=0.01)
    beside_a_group = [trained("product").ratings(trained("product").rater, order) for order in orders]
    assert spearman(*beside_a_group) > 0.9999, "which the default mode does not"


def test_a_published_gate_moves_ratings_until_it_has_run_to_its_bound(
    trained: Callable[..., Trained],
) -> None:
    """After one step it still tells batches apart, after ten no more."""
    agreement = {steps: lost_without(trained("published", 32 * steps))[0] for steps in (1, 10)}
    assert agreement[1] < 0.99
    assert agreement[10] > 0.999


def test_a_published_rating_forgets_a_source_that_is_rated_alone(trained: Callable[..., Trained]) -> None:
    """Rows that lie source by source: the softmax takes a batch's level away, and no gate puts it back."""
    one = trained("published")
    by_source = np.argsort(one.sources(), kind="stable")
    rating, still = (one.ratings(rater, by_source) for rater in (one.rater, one.still()))
    assert spearman(rating, still) > 0.999
    assert one.tells_the_bad(one.logits()) - one.tells_the_bad(rating) > 0.1


# ------------------------------------------------------------------------------ why


@pytest.mark.parametrize("count", [15, 63, 255, 1023])
def test_beside_a_fixed_group_a_pair_moves_the_gates_input_by_its_share_of_it(
    codec: StarCodec, count: int
) -> None:
    """The mean by (f_x - f_y) / (R + 1), the variance by O(1 / R): what is left of any two pairs."""
    rng, rater = torch.Generator().manual_seed(0), new_rater(codec).eval()
    some, members = torch.randn(40, TINY.width, generator=rng), torch.randn(count, TINY.width, generator=rng)
    heard: list[torch.Tensor] = []
    hook = rater.group.register_forward_hook(lambda module, given, out: heard.append(given[0].double()))
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
    network, _ = train_rater(tmp_path, data, codec, settings=SETTINGS)
    seen = score.pooled_features(network, data, data.pool().numbers, 20)
    spreads, agreement = {}, {}
    for times in (1, 4, 16):
        beside = Group.of(network, seen.repeat(times, 1))
        found = {group: rate(network, seen, beside, group, 2.0).numpy() for group in ("product", "none")}
        gates = np.log(found["product"] / found["none"])
        spreads[times] = (gates.max() - gates.min()) * (80 * times + 1)
        agreement[times] = spearman(found["product"], found["none"])
    assert max(spreads.values()) < 1.5 * min(spreads.values())
    assert agreement[1] < agreement[4] < agreement[16]
    assert agreement[16] > 0.999
    apart = {times: 1 - found for times, found in agreement.items()}
    assert apart[16] < apart[4] / 2 < apart[1] / 4


@pytest.mark.parametrize(
    ("group", "bound", "baseline", "sign"),
    [
        ("product", 2.0, 6.0, -1),
        ("product", 2.0, 0.0, 1),
        ("temperature", 2.0, 0.0, -1),
        ("double_softmax", None, 0.0, -1),
    ],
)
def test_the_papers_gate_is_pushed_one_way(
    codec: StarCodec, group: str, bound: float | None, baseline: float, sign: int
) -> None:
    """Its gradient has one sign once lower losses weigh more, whatever the batch is made of.

    Outside the softmax it is the weights' mean of loss less baseline: below zero against the mean loss, above
    it against none. Inside it is how logits and losses go together, and a baseline changes nothing.
    """
    torch.manual_seed(0)
    network = new_rater(codec)
    seen = torch.randn(64, TINY.width)
    losses, signs = 6 + seen[:, 0], []
    adam = torch.optim.AdamW(network.parameters(), 3e-3)
    for step in range(200):
        rows = torch.from_numpy(stateless.generator("one way", step).choice(64, 32, replace=False))
        weights = batch_weights(network, seen[rows], group, bound)
        weights.gate.retain_grad()
        adam.zero_grad()
        rater_loss(weights.rating, baseline - losses[rows]).backward()
        signs.append(float(weights.gate.grad))
        adam.step()
    assert all(np.sign(one) == sign for one in signs[50:])
