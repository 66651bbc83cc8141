"""How far subsets agree: what two of them share, beside what chance would let them share."""

import functools
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import special

from alchemist.core.refusal import Refusal


@dataclass(frozen=True)
class Overlap:
    """What two subsets of one pool share."""

    shared: float  # ids in both
    jaccard: float  # of the ids in either
    chance: float  # Jaccard index that random subsets of these sizes have on average


@dataclass(frozen=True)
class ArmOverlap:
    """The overlap of two arms of one ratio, each seed with itself; a mean over n seeds."""

    first: str
    second: str
    ratio: float
    n: int
    overlap: Overlap
    low: float  # least and largest Jaccard index over the seeds
    high: float


def overlap(a: Iterable[str], b: Iterable[str], pool_size: int) -> Overlap:
    """What two subsets of a pool of `pool_size` pairs share, and what chance would let them share.

    Raises Refusal where a subset is empty or larger than the pool.
    """
    one, two = set(a), set(b)
    for subset in (one, two):
        if not 0 < len(subset) <= pool_size:
            raise Refusal(f"a subset holds {len(subset)} ids; it should hold 1 to {pool_size}, the pool.")
    shared = len(one & two)
    return Overlap(shared, shared / len(one | two), chance_jaccard(len(one), len(two), pool_size))


@functools.cache
def chance_jaccard(a: int, b: int, pool_size: int) -> float:
    """The exact mean Jaccard index of two independent random subsets of sizes a and b.

    The number K of shared ids is hypergeometric, so it is the sum over k of P(K = k) k / (a + b - k).
    For a = b = r N it tends to r / (2 - r) in a large pool. Right to about 1e-9 at millions of ids.
    """
    mean = a * b / pool_size
    sd = math.sqrt(mean * (1 - a / pool_size) * (1 - b / pool_size) * pool_size / max(1, pool_size - 1))
    # Beyond twenty standard deviations there is nothing that a float could hold beside the rest.
    low = max(0, a + b - pool_size, math.floor(mean - 20 * sd - 20))
    shared = np.arange(low, min(a, b, math.ceil(mean + 20 * sd + 20)) + 1)
    # scipy's own hypergeometric takes half a minute at 100,000 ids.
    counts = (shared, a - shared, b - shared, pool_size - a - b + shared)
    logs = -sum(special.gammaln(count + 1.0) for count in counts)
    weights = np.exp(logs - logs.max())
    return float(weights @ (shared / (a + b - shared)) / weights.sum())


def overlaps(subsets: Mapping[tuple[str, float, int], Iterable[str]], pool_size: int) -> list[ArmOverlap]:
    """Every two arms of one ratio; `subsets` are the kept ids by (selection, ratio, seed).

    Ratios fall; arms keep the order of `subsets`. Arms without a common seed are left out.
    """
    kept = {key: frozenset(ids) for key, ids in subsets.items()}
    out = []
    for ratio in sorted({key[1] for key in kept}, reverse=True):
        arms: dict[str, dict[int, frozenset[str]]] = {}
        for (name, share, seed), ids in kept.items():
            if share == ratio:
                arms.setdefault(name, {})[seed] = ids
        for first, second in itertools.combinations(arms, 2):
            seeds = sorted(set(arms[first]) & set(arms[second]))
            found = [overlap(arms[first][s], arms[second][s], pool_size) for s in seeds]
            if found:
                shared, jaccard, chance = np.mean([(o.shared, o.jaccard, o.chance) for o in found], axis=0)
                every = [o.jaccard for o in found]
                mean = Overlap(float(shared), float(jaccard), float(chance))
                out.append(ArmOverlap(first, second, ratio, len(found), mean, min(every), max(every)))
    return out
