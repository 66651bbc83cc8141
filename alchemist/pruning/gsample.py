"""Sampler gsample: draws from a Gaussian over the percentile ranks (eq. 11 without the shift).

The paper states neither mean nor sigma. In the history of the authors' experiment configurations Gsample
has names that read as mean N/2 and sigma N/6, which `sigma: 16.7` gives. Our choices: the mean in the middle,
the sigma of Shift-Gsample, so that the shift alone parts the two, and sampling without replacement, which an
exact count needs.
"""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from alchemist.pruning.rated import PIECE, Mask, Rated, largest, percentiles
from alchemist.pruning.sampler import Sampler

MEAN = 50.0
SIGMA = 15.0  # of Shift-Gsample too


class Gsample(Sampler):
    """p(i) ~ exp(-(w_i - mean)^2 / (2 sigma^2)), w_i the percentile rank, 0 for the highest rating."""

    title: ClassVar[str] = "Gsample"
    sampler: Literal["gsample"]
    mean: float | None = Field(
        default=None, ge=0, le=100, description=f"centre, as a percentile rank; null: {MEAN:g}"
    )
    sigma: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description=f"width, in percent; null: {SIGMA:g}"
    )

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        mean = MEAN if self.mean is None else self.mean
        return gaussian(pool, 0, count, mean=mean, sigma=SIGMA if self.sigma is None else self.sigma)

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """See Sampler.why."""
        return drawn(MEAN if self.mean is None else self.mean, kept)


def drawn(mean: float, kept: bool) -> str:
    """What `gaussian` did, in words."""
    return f"{'drawn' if kept else 'not drawn'}, by a Gaussian about rank {mean:g} %"


def gaussian(pool: Rated, dropped: int, count: int, *, mean: float, sigma: float) -> Mask:
    """`count` draws without replacement from the ranks after the first `dropped`, by eq. 11.

    The largest of log p_i + Gumbel noise are distributed as successive draws with chances
    proportional to p_i among those left (Efraimidis & Spirakis 2006; Kool et al. 2019). In log
    space no tail underflows, so the count is exact for any sigma.
    """
    order = pool.best_first()
    rest = order[dropped:]
    left = np.ones(len(pool), dtype=bool)
    left[order[:dropped]] = False
    noise = pool.noise("gsample", left)
    score = percentiles(len(pool))[dropped:]
    for start in range(0, len(rest), PIECE):
        # --- log p_i = -(w_i - mean)^2 / (2 sigma^2), w_i the percentile ranks of what is left
        piece = score[start : start + PIECE]
        piece -= mean
        piece /= sigma
        with np.errstate(over="ignore"):  # an infinitely far tail is drawn last, best rank first
            np.square(piece, out=piece)
        piece *= -0.5
        # --- plus Gumbel noise; of 1 itself it would be infinite
        piece -= np.log(-np.log(np.minimum(noise[rest[start : start + PIECE]], 1 - 2**-53)))
    del noise
    mask = np.zeros(len(pool), dtype=bool)
    mask[rest[largest(score, count)]] = True
    return mask


SAMPLER = Gsample
