"""Ratings where pairs have groups: a pair's own among all of the pool's, and its place in that group."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.raters.groups import Groups
from alchemist.raters.network import Rater, bounded


@dataclass(frozen=True)
class Compared:
    """What pairs are rated by: of every group (G,) float64, from some of its pairs in the pool."""

    gains: Tensor  # log of how much more a pair of the group weighs than one of the pool
    centres: Tensor  # mean logit of its pairs
    largest: Tensor  # largest size of their centred logits
    totals: Tensor  # log of the mean of exp of their centred and bounded logits

    @staticmethod
    @torch.no_grad()
    def of(
        rater: Rater,
        features: Tensor,
        counts: list[int],
        groups: Groups,
        bound: float | None,
        gated: bool = True,
    ) -> "Compared":
        """From the features (N, C) of some pairs of each group, `counts` of them, group behind group.

        Not `gated`, as under group `within`, every group's pairs have a mean of one.
        """
        wide = features.double().split(counts)
        mean = torch.stack([one.mean(0) for one in wide])
        variance = torch.stack([one.var(0, correction=1) for one in wide])
        sizes = torch.as_tensor(groups.sizes(), dtype=torch.float64, device=features.device)
        share = sizes / sizes.sum()
        # --- gates of all groups, on one scale, such that they are one in the mean over the pool's pairs
        gates = rater.group_logits(mean.float(), variance.float()).double()
        apart = gates - (share * gates).sum() if gated else torch.zeros_like(gates)
        scaled = bounded(apart, apart.abs().max(), bound)
        gains = scaled - (share.log() + scaled).logsumexp(0)
        # --- logits of each group's pairs, as they lie in it
        logits = [rater.logits(one).double() for one in features.split(counts)]
        centres = torch.stack([one.mean() for one in logits])
        centred = [one - one.mean() for one in logits]
        largest = torch.stack([one.abs().max() for one in centred])
        inner = [bounded(one, most, bound) for one, most in zip(centred, largest, strict=True)]
        totals = torch.stack([one.logsumexp(0) - np.log(len(one)) for one in inner])
        return Compared(gains, centres, largest, totals)

    @torch.no_grad()
    def rate(self, logits: Tensor, labels: NDArray[np.integer], bound: float | None) -> Tensor:
        """Ratings (B,) float64 of pairs by their logits (B,) and groups (B,): W, of mean one over the pool.

        rating(x) = exp(a_g) / (mean over the pool's pairs of exp(a)) times exp(z_x) / (mean over the group of
        exp(z)), with a the gates of groups and z the logits, either centred and bounded. It depends on
        neither batch, order nor neighbours.
        """
        group = torch.as_tensor(labels, device=logits.device)
        own = bounded(logits.double() - self.centres[group], self.largest[group], bound)
        return (self.gains[group] + own - self.totals[group]).exp()

    def facts(self, groups: Groups) -> list[dict[str, Any]]:
        """Of each group its name, how many pairs of the pool it has, and how much more one of them weighs."""
        gains = self.gains.exp().tolist()
        return [
            {"name": name, "pairs": int(pairs), "weight": gain}
            for name, pairs, gain in zip(groups.names, groups.sizes(), gains, strict=True)
        ]
