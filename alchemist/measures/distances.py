"""Distances between two sets of image features.

The Fréchet distance is biased upwards at small n (as FD_infinity + a / n): compare only values
with the same n, beside the distance of real images to real images. The kernel distance is
unbiased in n, CMMD nearly so. Features are float32 as a network gives them; all sums are float64, over
blocks of rows, so that memory beside the features does not grow with n.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.refusal import Refusal

Features = NDArray[np.floating]  # (n, d)
_ROWS = 500  # whose kernel with all others is held at a time
_BLOCK = 10_000  # rows that are held in float64
_SIGMA, _SCALE = 10.0, 1000.0  # of CMMD, as published


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
    if len(features) <= _BLOCK:
        mean, factor = _centred(features)
        return Moments(mean, factor.T @ factor)
    _check(features)
    mean = features.mean(axis=0, dtype=np.float64)
    scatter = np.zeros((len(mean), len(mean)))
    for start in range(0, len(features), _BLOCK):
        rows = features[start : start + _BLOCK] - mean
        scatter += rows.T @ rows
    return Moments(mean, scatter / (len(features) - 1))


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
    _check(features)
    rows = features.astype(np.float64)
    mean = rows.mean(axis=0)
    return mean, (rows - mean) / np.sqrt(len(rows) - 1)


def _check(features: Features) -> None:
    if features.ndim != 2 or len(features) < 2:
        raise Refusal(f"features have the shape {features.shape}; a distance needs at least two rows (n, d).")
    if not np.isfinite(features).all():
        raise Refusal("features hold values that are not finite; the images cannot be measured.")


def kernel_distance(
    a: Features, b: Features, subsets: int, subset_size: int, seed: int
) -> tuple[float, float]:
    """KID (Binkowski et al. 2018): unbiased MMD^2 with the kernel (x.y / d + 1)^3, not scaled.

    Returns the mean over `subsets` pairs of random subsets of at most `subset_size` rows, the same as
    clean-fid's, and the standard deviation between the subsets (no confidence interval: subsets overlap,
    and where a subset is the whole set they are equal). Where the subsets hold more pairs of rows than there
    are, the kernel of two rows is computed once for all of them; else subset by subset. A function of its
    arguments; NumPy's global state is left as it was. Raises Refusal as `moments` does, and for subsets of
    less than two rows.
    """
    _check(a)
    _check(b)
    size = min(len(a), len(b), subset_size)
    if size < 2:
        raise Refusal(
            f"evaluate.kid_subset_size is {subset_size}; a kernel distance needs two rows at least."
        )
    drawn = []
    for subset in range(subsets):
        # As clean-fid draws them, from NumPy's old generator: its own choice, then that of the other side.
        rng = np.random.RandomState(stateless.key("kid", seed, subset) % (1 << 32))
        of_b = rng.choice(len(b), size, replace=False)
        drawn.append((rng.choice(len(a), size, replace=False), of_b))
    if subsets * size**2 < len(a) * len(b):
        one = np.ones((1, size))
        values = np.concatenate(
            [_unbiased(a[i].astype(np.float64), one, b[j].astype(np.float64), one, size) for i, j in drawn]
        )
    else:
        left, right = np.zeros((subsets, len(a))), np.zeros((subsets, len(b)))  # which rows are in a subset
        for subset, (of_a, of_b) in enumerate(drawn):
            left[subset, of_a] = right[subset, of_b] = 1
        values = _unbiased(a.astype(np.float64), left, b.astype(np.float64), right, size)
    return float(values.mean()), float(values.std(ddof=1)) if subsets > 1 else 0.0


def _unbiased(
    rows: NDArray[np.float64],
    left: NDArray[np.float64],
    others: NDArray[np.float64],
    right: NDArray[np.float64],
    size: int,
) -> NDArray[np.float64]:
    """Unbiased MMD^2 of each pair of subsets of `size` rows, (subsets,)."""
    within = _kernel_sums(rows, left, None, None) + _kernel_sums(others, right, None, None)
    across = _kernel_sums(rows, left, others, right)
    return within / (size * (size - 1)) - 2 * across / size**2


def cmmd(a: Features, b: Features) -> float:
    """CMMD (Jayasumana et al. 2024) of normalised CLIP embeddings: 1000 x the biased MMD^2.

    The kernel is exp(-|x - y|^2 / (2 sigma^2)) with sigma 10, which for rows of length 1 is nearly 1: what it
    lacks of 1 is summed, so that no digits are lost. Raises Refusal as `moments` does.
    """
    _check(a)
    _check(b)
    return _SCALE * (_mean_lack(a, a) + _mean_lack(b, b) - 2 * _mean_lack(a, b))


def _mean_lack(x: Features, y: Features) -> float:
    """The mean of the Gaussian kernel less 1 over all pairs of a row of x and a row of y."""
    others = y.astype(np.float64)
    lengths, total = np.square(others).sum(axis=1), 0.0
    for start in range(0, len(x), _ROWS):
        rows = x[start : start + _ROWS].astype(np.float64)
        apart = np.square(rows).sum(axis=1)[:, None] + lengths - 2 * rows @ others.T
        total += float(np.expm1(apart.clip(0) / (-2 * _SIGMA**2)).sum())
    return total / (len(x) * len(y))


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
