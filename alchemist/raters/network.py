"""The rater: a small STAR trunk, an instance head and a group head (paper, section 3.2).

It sees an image's tokens and its caption, and gives one logit a pair. The group head turns the
mean and variance of a batch's pooled features into one gate in (0, 1).
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from alchemist.core import stateless
from alchemist.models.encoded import Batch
from alchemist.models.star.tokenizer import Tokenizer
from alchemist.models.star.transformer import Star
from alchemist.models.text import TEXT_WIDTH
from alchemist.settings.model import StarSettings

HEAD_WIDTH = 64


class Rater(nn.Module):
    """Trunk of the smallest STAR size without its output layer, and two two-layer heads."""

    def __init__(self, settings: StarSettings, tokenizer: Tokenizer, seed: int) -> None:
        super().__init__()
        config, width = tokenizer.config, settings.width
        self.trunk = Star(settings, config.scales, config.codes, config.channels, TEXT_WIDTH, head=False)
        self.instance = nn.Sequential(
            nn.Linear(width, HEAD_WIDTH), nn.GELU(approximate="tanh"), nn.Linear(HEAD_WIDTH, 1)
        )
        self.group = nn.Sequential(
            nn.Linear(2 * width, HEAD_WIDTH), nn.GELU(), nn.Linear(HEAD_WIDTH, 1), nn.Sigmoid()
        )
        self.trunk.initialise(seed)
        rng = torch.Generator().manual_seed(stateless.key("heads", seed))
        for head in (self.instance, self.group):
            for layer in head:
                if isinstance(layer, nn.Linear):
                    std = layer.in_features**-0.5
                    nn.init.trunc_normal_(layer.weight, std=std, a=-3 * std, b=3 * std, generator=rng)
                    nn.init.zeros_(layer.bias)
        self._frozen = (tokenizer,)

    def features(self, batch: Batch, keep: Tensor | None = None) -> Tensor:
        """Output states averaged over the L tokens, (B, C) float32."""
        inputs = self._frozen[0].teacher_inputs(batch.tokens)
        return self.trunk.hidden(inputs, batch.text, keep).float().mean(1)

    def logits(self, features: Tensor) -> Tensor:
        """Instance logits (B,) of pooled features."""
        return self.instance(features).squeeze(-1)

    def gate(self, mean: Tensor, variance: Tensor) -> Tensor:
        """Group gates in (0, 1) from (…, C) means and biased variances."""
        return self.group(torch.cat([mean, variance], -1)).squeeze(-1)


def held(centred: Tensor, largest: Tensor | float, bound: float | None) -> Tensor:
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
    is W of eq. 9, which the rater's loss differentiates, and `gate` the group head's scalar."""

    shares: Tensor
    rating: Tensor
    gate: Tensor


def batch_weights(rater: Rater, features: Tensor, group: str, bound: float | None) -> Weights:
    """Weights of a training batch from its pooled features (B, C): one softmax over the batch.

    group `product`: W = gate x softmax (paper, section 3.2). `temperature`: W = softmax of logits
    times (1/2 + gate), so that eq. 9 cannot shrink all weights at once. `none`: W = softmax.
    `double_softmax`: W = softmax(gate x softmax(sigmoid)), the published numerics, where a second softmax
    over numbers in (0, e / B) leaves every weight within a few percent of 1 / B; no bound applies.
    """
    if group == "double_softmax":
        gate, ratings = _published(rater, features)
        shares = ratings.softmax(0)
        return Weights(shares, shares, gate)
    logits = rater.logits(features)
    centred = logits - logits.mean()
    scaled = held(centred, centred.abs().max(), bound)
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    if group == "temperature":
        scaled = scaled * (0.5 + gate)
    shares = scaled.softmax(0)
    return Weights(shares, shares * gate if group == "product" else shares, gate)


def _published(rater: Rater, features: Tensor) -> tuple[Tensor, Tensor]:
    """The gate of a batch, and gate x softmax(sigmoid(logit)) over the batch, (B,)."""
    gate = rater.gate(features.mean(0), features.var(0, correction=0))
    return gate, gate * torch.sigmoid(rater.logits(features)).softmax(0)


@torch.no_grad()
def batch_ratings(rater: Rater, features: Tensor) -> NDArray[np.float64]:
    """Ratings (B,) as published: the batch's gate times the softmax over the batch of sigmoids.

    They depend on every pair that shares the batch, and on its size: a pair's rating tells its place
    within the batch alone. The softmax that training adds on top keeps this order.
    """
    return _published(rater, features)[1].double().numpy()


@dataclass(frozen=True)
class Reference:
    """The fixed group against which every pair is rated: its logits and feature moments."""

    logits: NDArray[np.float64]
    total: NDArray[np.float64]  # (C,) sum of features
    squares: NDArray[np.float64]  # (C,) sum of squared features

    @staticmethod
    @torch.no_grad()
    def of(rater: Rater, features: Tensor) -> "Reference":
        """From the pooled features (R, C) of the group's members."""
        wide = features.double()
        logits = rater.logits(features).double().numpy()
        return Reference(logits, wide.sum(0).numpy(), wide.square().sum(0).numpy())


@torch.no_grad()
def rate(
    rater: Rater, features: Tensor, reference: Reference, group: str, bound: float | None
) -> NDArray[np.float64]:
    """Ratings (B,): each pair's expected weight beside the reference group, and nothing else.

    rating(x) = gate(x) exp(z_x) / (exp(z_x) + sum over R of exp(z_r)), with the gate of R + {x},
    and z the logits centred and held by the mean and the largest size in R.
    The paper's number is a share of whatever batch the pair was rated in; this one does not
    depend on batch size, order or neighbours.
    """
    members = len(reference.logits) + 1
    wide = features.double()
    mean = (torch.from_numpy(reference.total) + wide) / members
    variance = (torch.from_numpy(reference.squares) + wide.square()) / members - mean.square()
    gate = rater.gate(mean.float(), variance.clamp_min(0).float()).double()
    centre = float(reference.logits.mean())
    centred = torch.from_numpy(reference.logits) - centre
    own = held(rater.logits(features).double() - centre, centred.abs().max(), bound)
    others = held(centred, centred.abs().max(), bound).expand(len(own), -1)
    if group == "temperature":
        own, others = own * (0.5 + gate), others * (0.5 + gate)[:, None]
    share = own - torch.cat([own[:, None], others], 1).logsumexp(1)
    return (share.exp() * (gate if group == "product" else 1.0)).numpy()
