"""Distances between two sets of image features.

The Fréchet distance is biased upwards at small n (as FD_infinity + a / n): compare only values
with the same n, beside the distance of real images to real images. The kernel distance is
unbiased in n.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.refusal import Refusal

Features = NDArray[np.floating]  # (n, d)
_ROWS = 500  # whose kernel with all others is held at a time


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of features, so that those of the references are computed once."""

    mean: NDArray[np.float64]  # (d,)
    covariance: NDArray[np.float64]  # (d, d), over n - 1

    @cached_property
    def factor(self) -> NDArray[np.float64]:
        """A symmetric F (d, d) with F F = covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        root: NDArray[np.float64] = (vectors * np.sqrt(values.clip(0))) @ vectors.T
        return root


def moments(features: Features) -> Moments:
    """Moments of features (n, d), in float64. Raises Refusal below two rows or at non-finite values."""
    mean, factor = _centred(features)
    return Moments(mean, factor.T @ factor)


def frechet_distance(a: Features | Moments, b: Features | Moments) -> float:
    """|m_a - m_b|^2 + Tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of the Gaussians fitted to two sets.

    With C_a = F' F the last trace is the sum of the roots of the eigenvalues of F C_b F', which is
    symmetric: real, without clean-fid's iteration of `sqrtm`, and equal to it. F is the centred features
    themselves where they are fewer than their dimensions, so that no root is needed: give the images that
    are measured first, and the Moments of the references second.
    """
    second = b if isinstance(b, Moments) else moments(b)
    if isinstance(a, Moments) or len(a) > a.shape[-1]:
        first = a if isinstance(a, Moments) else moments(a)
        mean, factor = first.mean, first.factor
    else:
        mean, factor = _centred(a)
    # |m_a - m_b|^2
    gap = mean - second.mean
    # Tr (C_a C_b)^(1/2), by the eigenvalues of F C_b F'
    shared = np.sqrt(np.linalg.eigvalsh(factor @ second.covariance @ factor.T).clip(0)).sum()
    return float(gap @ gap + np.square(factor).sum() + np.trace(second.covariance) - 2 * shared)


def _centred(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean (d,) and F (n, d), the centred rows over the root of n - 1, so that F' F is the covariance."""
    if features.ndim != 2 or len(features) < 2:
        raise Refusal(f"features have the shape {features.shape}; a distance needs at least two rows (n, d).")
    if not np.isfinite(features).all():
        raise Refusal("features hold values that are not finite; the images cannot be measured.")
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean) / np.sqrt(len(rows) - 1)


def kernel_distance(
    a: Features, b: Features, subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """KID (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / d + 1)^3, not scaled.

    Returns the mean over `subsets` pairs of random subsets of at most `subset_size` rows, the same as
    clean-fid's, and the standard deviation between the subsets (no confidence interval: subsets overlap,
    and where a subset is the whole set they are equal). The kernel of two rows is computed once for all
    subsets, and a row in none is left out. A function of its arguments; NumPy's global state is left as it
    was.
    """
    size = min(len(a), len(b), subset_size)
    left, right = np.zeros((subsets, len(a))), np.zeros((subsets, len(b)))  # which rows are in a subset
    for subset in range(subsets):
        # As clean-fid draws them, from NumPy's old generator: its own choice, then that of the other side.
        rng = np.random.RandomState(stateless.key("kid", seed, subset) % (1 << 32))
        right[subset, rng.choice(len(b), size, replace=False)] = 1
        left[subset, rng.choice(len(a), size, replace=False)] = 1
    rows, others = a.astype(np.float64), b.astype(np.float64)
    within = _kernel_sums(rows, left, None, None) + _kernel_sums(others, right, None, None)
    across = _kernel_sums(rows, left, others, right)
    values = within / (size * (size - 1)) - 2 * across / size**2
    return float(values.mean()), float(values.std(ddof=1)) if subsets > 1 else 0.0


def _kernel_sums(
    rows: NDArray[np.float64],
    chosen: NDArray[np.float64],
    others: NDArray[np.float64] | None,
    of_others: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Sums of the kernel over the pairs of two subsets, or of two different rows of one, (subsets,).

    `chosen` (subsets, n) is 1 where a row is in the subset. Rows are taken a block at a time, so that
    memory does not grow with n squared.
    """
    total = np.zeros(len(chosen))
    for start in range(0, len(rows), _ROWS):
        block, here = rows[start : start + _ROWS], chosen[:, start : start + _ROWS]
        if others is not None and of_others is not None:
            total += ((here @ _kernel(block, others)) * of_others).sum(axis=1)
            continue
        # Within one set every pair counts twice: once inside a block, and with the rows behind it.
        inside = _kernel(block, block)
        np.fill_diagonal(inside, 0)
        total += ((here @ inside) * here).sum(axis=1)
        behind = _kernel(block, rows[start + _ROWS :])
        total += 2 * ((here @ behind) * chosen[:, start + _ROWS :]).sum(axis=1)
    return total


def _kernel(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """(x.y / d + 1)^3 of all rows of two sets."""
    base = x @ y.T
    base /= x.shape[1]
    base += 1
    out: NDArray[np.float64] = base * base * base
    return out
