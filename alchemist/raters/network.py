"""The rater: a family's trunk, an instance head and a group head (paper, section 3.2).

It sees a pair's image and caption, and gives one logit a pair. The group head turns the mean and
variance of a batch's features into one gate in (0, 1).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.models.batch import Batch, Chance
from alchemist.models.family import Trunk

HEAD_WIDTH = 64


class Rater(nn.Module):
    """A trunk and two two-layer heads."""

    def __init__(self, trunk: Trunk, seed: int) -> None:
        super().__init__()
        self.trunk, width = trunk, trunk.width
        self.instance = nn.Sequential(
            nn.Linear(width, HEAD_WIDTH), nn.GELU(approximate="tanh"), nn.Linear(HEAD_WIDTH, 1)
        )
        self.group = nn.Sequential(
            nn.Linear(2 * width, HEAD_WIDTH), nn.GELU(), nn.Linear(HEAD_WIDTH, 1), nn.Sigmoid()
        )
        rng = torch.Generator().manual_seed(stateless.key("heads", seed))
        for head in (self.instance, self.group):
            for layer in head:
                if isinstance(layer, nn.Linear):
                    std = layer.in_features**-0.5
                    nn.init.trunc_normal_(layer.weight, std=std, a=-3 * std, b=3 * std, generator=rng)
                    nn.init.zeros_(layer.bias)

    def features(self, batch: Batch, chance: Chance) -> Tensor:
        """The trunk's vector of each pair, (B, C) float32."""
        return self.trunk.features(batch, chance)

    def logits(self, features: Tensor) -> Tensor:
        """Instance logits (B,) of pooled features."""
        return self.instance(features).squeeze(-1)

    def gate(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Group gates in (0, 1) from (…, C) means and biased variances."""
        return self.group(torch.cat([mean, variance], -1)).squeeze(-1)

    def group_logits(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Logits of groups to be compared, from normalised (…, C) means and unbiased variances."""
        seen = [F.layer_norm(one, one.shape[-1:]) for one in (mean, variance)]
        return self.group[:-1](torch.cat(seen, -1)).squeeze(-1)

    def decays(self, name: str, parameter: Tensor) -> bool:
        """Whether weight decay acts on a parameter: on heads' matrices, in the trunk as its family has it."""
        part, _, inner = name.partition(".")
        return self.trunk.decays(inner, parameter) if part == "trunk" else parameter.ndim >= 2


def bounded(centred: Tensor, largest: Tensor | float, bound: float | None) -> Tensor:
    """Centred logits, shrunk so that the largest size in their group is at most `bound`.

    Without a bound eq. 9 lets a few weights take all, and a bound on the standard deviation lets
    one. A shrinkage keeps every order, where a squashing function saturates: with tanh most pairs
    ended at one value.
    """
    if bound is None:
        return centred
    return centred * torch.clamp(bound / torch.as_tensor(largest).clamp_min(1e-12), max=1.0)


@dataclass(frozen=True)
class Weights:
    """Of a batch: `shares` sum to one (they weigh the proxy's loss, times B: mean one), `rating`
    is W of eq. 9, which the rater's loss differentiates, and `gate` the group head's scalar; under group
    `compared` the largest share of a group of the step, from one over their count up, which `within` has."""

    shares: Tensor
    rating: Tensor
    gate: Tensor


def batch_weights(
    rater: Rater, features: Tensor, group: str, bound: float | None, groups: int = 1
) -> Weights:
    """Weights of a training batch from its pooled features (B, C): one softmax over the batch.

    group `product`: W = gate x softmax (paper, section 3.2). `temperature`: W = softmax of logits
    times (1/2 + gate), so that eq. 9 cannot shrink all weights at once. `none`: W = softmax.
    `double_softmax`: W = softmax(gate x softmax(sigmoid)), the published numerics, where a second softmax
    over numbers in (0, e / B) leaves every weight within a few percent of 1 / B; no bound applies.
    `compared`, and `within`, where no gate acts: the batch is `groups` groups of equal size behind one
    another, see `compared_weights`.
    """
    if group in ("compared", "within"):
        apart = features.view(groups, -1, features.shape[-1])
        return compared_weights(rater, apart, bound, gated=group == "compared")
    if group == "double_softmax":
        gate, ratings = _published(rater, features)
        shares = ratings.softmax(0)
        return Weights(shares, shares, gate)
    # --- logits of the batch, centred and bounded
    logits = rater.logits(features)
    centred = logits - logits.mean()
    scaled = bounded(centred, centred.abs().max(), bound)
    # --- the gate of the batch, from the mean and variance of its features (section 3.2)
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    if group == "temperature":
        scaled = scaled * (0.5 + gate)
    # --- W = gate x softmax (eq. 9's weights)
    shares = scaled.softmax(0)
    return Weights(shares, shares * gate if group == "product" else shares, gate)


def compared_weights(rater: Rater, features: Tensor, bound: float | None, gated: bool = True) -> Weights:
    """W = softmax over groups of their logits x softmax within each of its pairs', of features (G, K, C).

    W sums to one, so that a constant taken off all credits changes no gradient: eq. 9 needs no baseline here.
    The gradient by the groups' logits sums to zero, s_g (sum over h of s_h C_h - C_g) where C_g is the
    weighted mean of a group's credits, so that no common shift drives them to an end; both softmaxes are
    bounded. Not `gated`, all groups of a step weigh alike: the same batches and the same softmax within a
    group, by which what the gate does is told from what they do.
    """
    logits = rater.logits(features)
    centred = logits - logits.mean(1, keepdim=True)
    within = bounded(centred, centred.abs().amax(1, keepdim=True), bound).softmax(1)
    gates = rater.group_logits(features.mean(1), features.var(1, correction=1))
    apart = gates - gates.mean() if gated else torch.zeros_like(gates)
    between = bounded(apart, apart.abs().max(), bound).softmax(0)
    shares = (between[:, None] * within).flatten()
    return Weights(shares, shares, between.max())


def _published(rater: Rater, features: Tensor) -> tuple[Tensor, Tensor]:
    """The gate of a batch, and gate x softmax(sigmoid(logit)) over the batch, (B,)."""
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    return gate, gate * torch.sigmoid(rater.logits(features)).softmax(0)


@torch.no_grad()
def batch_ratings(rater: Rater, features: Tensor) -> Tensor:
    """Ratings (B,) as published: the batch's gate times the softmax over the batch of sigmoids.

    They depend on every pair that shares the batch, and on its size: a pair's rating tells its place
    within the batch alone. The softmax that training adds on top keeps this order.
    """
    return _published(rater, features)[1].double()


@dataclass(frozen=True)
class Group:
    """The reference group against which every pair is rated: its logits and feature moments, float64."""

    logits: Tensor  # (R,)
    total: Tensor  # (C,) sum of features
    squares: Tensor  # (C,) sum of squared features

    @staticmethod
    @torch.no_grad()
    def of(rater: Rater, features: Tensor) -> "Group":
        """From the features (R, C) of the group's members."""
        wide = features.double()
        return Group(rater.logits(features).double(), wide.sum(0), wide.square().sum(0))


@torch.no_grad()
def rate(rater: Rater, features: Tensor, beside: Group, group: str, bound: float | None) -> Tensor:
    """Ratings (B,) float64: each pair's expected weight beside the reference group, and nothing else.

    rating(x) = gate(x) exp(z_x) / (exp(z_x) + sum over R of exp(z_r)), with the gate of R + {x},
    and z the logits, centred by the mean of R and bounded by the largest size in R.
    The paper's number is a share of whatever batch the pair was rated in; this one does not
    depend on batch size, order or neighbours.
    """
    # --- the gate of the group with each pair added to it
    members = len(beside.logits) + 1
    wide = features.double()
    mean = (beside.total + wide) / members
    variance = (beside.squares + wide.square()) / members - mean.square()
    gate = rater.gate(mean.float(), variance.clamp_min(0).float()).double()
    # --- logits of the pair and of the group, on one scale
    centre = beside.logits.mean()
    centred = beside.logits - centre
    own = bounded(rater.logits(features).double() - centre, centred.abs().max(), bound)
    others = bounded(centred, centred.abs().max(), bound).expand(len(own), -1)
    if group == "temperature":
        own, others = own * (0.5 + gate), others * (0.5 + gate)[:, None]
    # --- the pair's share of the softmax over both
    share = own - torch.cat([own[:, None], others], 1).logsumexp(1)
    return share.exp() * (gate if group == "product" else 1.0)
