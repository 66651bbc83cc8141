"""Distances between two sets of image features.

The Fréchet distance is biased upwards at small n (as FD_infinity + a / n): compare only values
with the same n, beside the distance of real images to real images. The kernel distance is
unbiased in n.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.refusal import Refusal

Features = NDArray[np.floating]  # (n, d)


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, so that those of the references are computed once."""

    mean: NDArray[np.float64]  # (d,)
    covariance: NDArray[np.float64]  # (d, d), over n - 1

    @cached_property
    def root(self) -> NDArray[np.float64]:
        """The symmetric square root of the covariance, (d, d)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        return root


def moments(features: Features) -> Moments:
    """Moments of features (n, d), in float64. Raises Refusal below two rows or at non-finite values."""
    if features.ndim != 2 or len(features) < 2:
        raise Refusal(f"features have the shape {features.shape}; a distance needs at least two rows (n, d).")
    if not np.isfinite(features).all():
        raise Refusal("features hold values that are not finite; the images cannot be measured.")
    rows = features.astype(np.float64)
    return Moments(rows.mean(axis=0), np.atleast_2d(np.cov(rows, rowvar=False)))


def frechet_distance(a: Features | Moments, b: Features | Moments) -> float:
    """|m_a - m_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of the Gaussians fitted to two sets.

    The last trace is the sum of the roots of the eigenvalues of C_b^(1/2) C_a C_b^(1/2), which
    is symmetric: real, without clean-fid's iteration of `sqrtm`, and equal to it. The root of
    the second argument is kept in its Moments: give the references second.
    """
    first, second = (x if isinstance(x, Moments) else moments(x) for x in (a, b))
    # |m_a - m_b|^2
    gap = first.mean - second.mean
    # Tr (C_a C_b)^(1/2), by the eigenvalues of C_b^(1/2) C_a C_b^(1/2)
    inner = second.root @ first.covariance @ second.root
    shared = np.sqrt(np.linalg.eigvalsh(inner).clip(0)).sum()
    return float(gap @ gap + np.trace(first.covariance) + np.trace(second.covariance) - 2 * shared)


def kernel_distance(
    a: Features, b: Features, subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """KID (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / d + 1)^3, not scaled.

    Returns the mean over `subsets` pairs of random subsets of at most `subset_size` rows, as
    clean-fid computes it, and the standard deviation between the subsets (no confidence
    interval: subsets overlap, and where a subset is the whole set they are equal). A function
    of its arguments; NumPy's global state is left as it was.
    """
    from cleanfid.fid import kernel_distance as clean_fid

    left, right = a.astype(np.float64), b.astype(np.float64)
    values = []
    for subset in range(subsets):
        with _numpy_seed(stateless.key("kid", seed, subset)):
            values.append(clean_fid(left, right, num_subsets=1, max_subset_size=subset_size))
    return float(np.mean(values)), float(np.std(values, ddof=1)) if subsets > 1 else 0.0


@contextmanager
def _numpy_seed(seed: int) -> Iterator[None]:
    """clean-fid draws from NumPy's global generator, which is put back afterwards."""
    state = np.random.get_state()
    np.random.seed(seed % (1 << 32))
    try:
        yield
    finally:
        np.random.set_state(state)
