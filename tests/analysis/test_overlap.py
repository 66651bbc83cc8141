import math

import numpy as np
import pytest
from scipy import stats

from alchemist.analysis import overlap
from alchemist.core.refusal import Refusal


def test_overlap_by_hand() -> None:
    found = overlap.overlap(["a", "b", "c"], ["d", "c", "b"], 10)
    assert (found.shared, found.jaccard) == (2, 0.5)
    assert overlap.overlap("abc", "abc", 3) == overlap.Overlap(3, 1.0, 1.0)
    assert overlap.overlap("a", "b", 2).chance == 0.5  # the same one of two, or not
    with pytest.raises(Refusal, match="1 to 2"):
        overlap.overlap("abc", "a", 2)


def test_chance_is_what_random_subsets_share() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(4000):
        a, b = set(rng.permutation(20)[:8]), set(rng.permutation(20)[:5])
        seen.append(len(a & b) / len(a | b))
    error = float(np.std(seen)) / math.sqrt(len(seen))
    assert overlap.chance_jaccard(8, 5, 20) == pytest.approx(np.mean(seen), abs=4 * error)


@pytest.mark.parametrize(("a", "b", "pool"), [(1, 1, 7), (300, 120, 400), (250, 250, 500), (40, 1600, 1600)])
def test_chance_is_the_hypergeometric_mean(a: int, b: int, pool: int) -> None:
    shared = np.arange(max(0, a + b - pool), min(a, b) + 1)
    exact = stats.hypergeom.pmf(shared, pool, a, b) @ (shared / (a + b - shared))
    assert overlap.chance_jaccard(a, b, pool) == pytest.approx(exact, rel=1e-9)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_chance_tends_to_r_over_two_less_r(ratio: float) -> None:
    kept = round(ratio * 10**6)
    assert overlap.chance_jaccard(kept, kept, 10**6) == pytest.approx(ratio / (2 - ratio), rel=1e-5)


def test_overlaps_pair_arms_of_one_ratio_by_seed() -> None:
    subsets = {
        ("a", 0.2, 0): ["1", "2"], ("b", 0.2, 0): ["1", "2"], ("a", 0.2, 1): ["3", "4"],
        ("b", 0.2, 1): ["1", "2"], ("a", 0.5, 0): list("12345"), ("b", 0.5, 0): list("67890"),
        ("c", 0.5, 1): list("12345"),
    }  # fmt: skip
    found = overlap.overlaps(subsets, 10)
    assert [(o.first, o.second, o.ratio, o.n) for o in found] == [("a", "b", 0.5, 1), ("a", "b", 0.2, 2)]
    assert (found[0].overlap.jaccard, found[1].overlap.jaccard) == (0.0, 0.5)
    assert (found[1].low, found[1].high, found[1].overlap.shared) == (0.0, 1.0, 1.0)
    assert found[1].overlap.chance == pytest.approx(overlap.chance_jaccard(2, 2, 10))
