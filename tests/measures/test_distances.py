"""Fréchet and kernel distances against closed forms, brute force and clean-fid."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cleanfid import fid

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.measures import distances
from alchemist.measures.distances import Moments, cmmd, frechet_distance, kernel_distance, moments


def gaussian_sample(rng, n, mean, covariance):
    """n rows whose sample mean and sample covariance are exactly the given ones."""
    d = len(mean)
    x = rng.standard_normal((n, d))
    x -= x.mean(axis=0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return x @ np.linalg.cholesky(covariance).T + mean


def random_covariance(rng, d):
    a = rng.standard_normal((d, d))
    return a @ a.T / d + 0.1 * np.eye(d)


def test_samples_have_the_moments_that_the_closed_forms_assume():
    rng = np.random.default_rng(0)
    c = random_covariance(rng, 4)
    x = gaussian_sample(rng, 50, np.arange(4.0), c)
    assert np.allclose(x.mean(axis=0), np.arange(4.0))
    assert np.allclose(np.cov(x, rowvar=False), c)


def test_frechet_of_commuting_gaussians_is_the_closed_form():
    rng = np.random.default_rng(1)
    a_mean, b_mean = rng.standard_normal((2, 6))
    a_var, b_var = rng.uniform(0.1, 4, (2, 6))
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]  # both covariances have these eigenvectors
    a = gaussian_sample(rng, 80, a_mean, turn @ np.diag(a_var) @ turn.T)
    b = gaussian_sample(rng, 60, b_mean, turn @ np.diag(b_var) @ turn.T)
    expected = ((a_mean - b_mean) ** 2).sum() + ((np.sqrt(a_var) - np.sqrt(b_var)) ** 2).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_of_one_dimension():
    a, b = np.array([[0.0], [2.0]]), np.array([[5.0], [11.0]])
    assert frechet_distance(a, b) == pytest.approx(49 + (math.sqrt(2) - math.sqrt(18)) ** 2)


def test_frechet_equals_cleanfid_where_covariances_do_not_commute():
    rng = np.random.default_rng(2)
    a = gaussian_sample(rng, 100, rng.standard_normal(12), random_covariance(rng, 12))
    b = gaussian_sample(rng, 90, rng.standard_normal(12), random_covariance(rng, 12))
    assert frechet_distance(a, b) == pytest.approx(fid.fid_from_feats(a, b), rel=1e-8)


def test_frechet_stays_exact_below_full_rank():
    """Fewer images than dimensions: the distance of two disjoint subspaces has no shared part."""
    rng = np.random.default_rng(3)
    a, b = np.zeros((20, 60)), np.zeros((25, 60))
    a[:, :30], b[:, 30:] = rng.standard_normal((20, 30)), rng.standard_normal((25, 30))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T)) + np.trace(np.cov(b.T))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)


def test_frechet_of_few_images_is_that_of_their_moments_and_of_the_singular_values():
    """Fewer images than dimensions go by another way: the features themselves are the factor."""
    rng = np.random.default_rng(12)
    few, many = rng.standard_normal((20, 40)) @ rng.standard_normal((40, 40)), rng.standard_normal((90, 40))
    exact = frechet_distance(few, many)
    assert exact == pytest.approx(frechet_distance(moments(few), many), rel=1e-6)
    # Tr (C_a C_b)^(1/2) is the sum of the singular values of A B', the centred rows over root n - 1.
    a, b = ((x - x.mean(0)) / math.sqrt(len(x) - 1) for x in (few, many))
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    gap = few.mean(0) - many.mean(0)
    assert exact == pytest.approx(gap @ gap + (a**2).sum() + (b**2).sum() - 2 * shared, rel=1e-8)


def test_frechet_of_a_set_with_itself_is_zero_even_below_full_rank():
    x = np.random.default_rng(4).standard_normal((50, 200)) * 3
    assert abs(frechet_distance(x, x)) < 1e-4 * np.trace(np.cov(x.T))


def test_frechet_is_symmetric_and_knows_no_order():
    rng = np.random.default_rng(5)
    a = rng.standard_normal((70, 8)) @ rng.standard_normal((8, 8))
    b = rng.standard_normal((50, 8)) + 1
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)
    assert frechet_distance(rng.permutation(a), b) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_moments_of_float32_features_far_from_zero_keep_their_precision():
    x = np.random.default_rng(6).standard_normal((400, 3))
    far = (x + 1000).astype(np.float32)
    assert frechet_distance(far, far.astype(np.float64)) < 1e-9
    assert moments(far).covariance == pytest.approx(np.cov(far.astype(np.float64), rowvar=False), rel=1e-9)


def test_kept_moments_give_the_same_distance():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 40, 5))
    kept = moments(b)
    assert isinstance(kept, Moments)
    assert frechet_distance(a, kept) == frechet_distance(a, b) == frechet_distance(moments(a), kept)


def test_moments_of_many_rows_are_the_same_by_blocks(monkeypatch):
    """To the last digits, for float32 far from zero too."""
    x = (np.random.default_rng(14).standard_normal((700, 40)) + 300).astype(np.float32)
    whole = moments(x)
    monkeypatch.setattr(distances, "_BLOCK", 64)
    blocks = moments(x)
    assert blocks.mean == pytest.approx(whole.mean, rel=1e-13)
    assert blocks.covariance == pytest.approx(whole.covariance, rel=1e-10, abs=1e-12)
    assert blocks.covariance == pytest.approx(np.cov(x.astype(np.float64), rowvar=False), rel=1e-9, abs=1e-12)
    with pytest.raises(Refusal, match="not finite"):
        moments(np.where(x > x.max() - 0.1, np.nan, x))


@pytest.mark.parametrize("bad", [np.zeros((1, 3)), np.zeros(3), np.array([[1.0, np.nan], [0.0, 1.0]])])
def test_features_that_cannot_be_measured_are_refused(bad):
    with pytest.raises(Refusal, match="features"):
        moments(bad)


def brute_force_mmd(a, b):
    """Unbiased MMD^2 by its definition, in loops."""
    d = a.shape[1]

    def kernel(x, y):
        return (float(x @ y) / d + 1) ** 3

    def within(s):
        pairs = [kernel(s[i], s[j]) for i in range(len(s)) for j in range(len(s)) if i != j]
        return sum(pairs) / len(pairs)

    across = [kernel(x, y) for x in a for y in b]
    return within(a) + within(b) - 2 * sum(across) / len(across)


def test_kernel_distance_of_whole_sets_is_the_brute_force_mmd():
    rng = np.random.default_rng(8)
    a, b = rng.standard_normal((20, 5)), rng.standard_normal((20, 5)) * 1.5 + 0.5
    mean, sd = kernel_distance(a, b, subsets=3, subset_size=100, seed=0)
    assert mean == pytest.approx(brute_force_mmd(a, b), rel=1e-9)
    assert sd == pytest.approx(0, abs=1e-12)  # every subset is the whole set


@pytest.mark.parametrize("count", [4, 20])
@pytest.mark.parametrize("rows", [7, 30, 500])
def test_kernel_distance_is_clean_fids_on_the_same_subsets(rows, count, monkeypatch):
    """Every subset's value: of few by themselves, and of many by one kernel, a block of rows at a time."""
    monkeypatch.setattr(distances, "_ROWS", rows)
    rng = np.random.default_rng(13)
    a, b = rng.standard_normal((60, 6)), rng.standard_normal((90, 6)) * 1.2 + 0.1
    theirs = []
    for subset in range(count):
        np.random.seed(stateless.key("kid", 3, subset) % (1 << 32))
        theirs.append(fid.kernel_distance(a, b, num_subsets=1, max_subset_size=25))
    mean, sd = kernel_distance(a, b, count, 25, 3)
    assert mean == pytest.approx(np.mean(theirs), rel=1e-10)
    assert sd == pytest.approx(np.std(theirs, ddof=1), rel=1e-10)


def test_kernel_distance_is_unbiased_on_equal_distributions():
    """Over many draws of 10 against 10 the mean is zero, where the Fréchet distance is far from it."""
    rng = np.random.default_rng(9)
    draws = [rng.standard_normal((2, 10, 8)) for _ in range(400)]
    values = np.array([kernel_distance(a, b, 1, 10, 0)[0] for a, b in draws])
    error = values.std(ddof=1) / math.sqrt(len(values))
    assert abs(values.mean()) < 3.5 * error
    assert values.min() < 0
    assert np.mean([frechet_distance(a, b) for a, b in draws[:50]]) > 1


def test_kernel_distance_sees_what_differs():
    rng = np.random.default_rng(10)
    a, same, other = (
        rng.standard_normal((300, 8)),
        rng.standard_normal((300, 8)),
        rng.standard_normal((300, 8)),
    )
    near, sd = kernel_distance(a, same, 20, 100, 0)
    far, _ = kernel_distance(a, other + 0.5, 20, 100, 0)
    assert far > near + 3 * sd > near


def test_kernel_distance_is_a_function_of_its_seed_and_leaves_numpy_alone():
    rng = np.random.default_rng(11)
    a, b = rng.standard_normal((2, 60, 4))
    np.random.seed(5)
    expected = np.random.random(3)
    np.random.seed(5)
    first = kernel_distance(a, b, 4, 20, 1)
    assert np.array_equal(np.random.random(3), expected)
    np.random.random(7)
    assert kernel_distance(a, b, 4, 20, 1) == first
    assert kernel_distance(a, b, 4, 20, 2) != first
    # Further subsets do not change the earlier ones.
    singles = [kernel_distance(a, b, n, 20, 1)[0] * n for n in (1, 2, 3, 4)]
    assert singles[3] == pytest.approx(first[0] * 4)
    assert np.std(np.diff([0, *singles]), ddof=1) == pytest.approx(first[1])


def unit(rng, n, d, middle=0.0):
    x = rng.standard_normal((n, d)) + middle
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("rows", [3, 500])
def test_cmmd_is_its_definition_in_loops(rows, monkeypatch):
    """1000 x the biased MMD^2 with exp(-|x - y|^2 / 200): every pair counts, a row with itself too."""
    monkeypatch.setattr(distances, "_ROWS", rows)
    rng = np.random.default_rng(15)
    a, b = unit(rng, 11, 6), unit(rng, 7, 6, 0.5)

    def mean_kernel(x, y):
        apart = [float(np.square(p.astype(np.float64) - q).sum()) for p in x for q in y]
        return math.fsum(math.exp(-d / 200) for d in apart) / len(apart)

    expected = 1000 * (mean_kernel(a, a) + mean_kernel(b, b) - 2 * mean_kernel(a, b))
    assert cmmd(a, b) == pytest.approx(expected, rel=1e-8)
    assert cmmd(b, a) == pytest.approx(expected, rel=1e-8)


def test_cmmd_of_two_points_is_the_closed_form():
    """All of a at one end, all of b at the other, 2 apart: 2 - 2 exp(-4 / 200)."""
    a = np.tile([1.0, 0.0], (4, 1))
    assert cmmd(a, -a[:3]) == pytest.approx(1000 * (2 - 2 * math.exp(-0.02)), rel=1e-12)
    assert cmmd(a, a) == 0
    x = unit(np.random.default_rng(16), 50, 8)
    assert cmmd(x, x) == pytest.approx(0, abs=1e-10)
    with pytest.raises(Refusal, match="features"):
        cmmd(x, x[:1])


def test_a_distance_does_not_depend_on_the_number_of_cores():
    """Of a process that is set up as a stage is, whatever a person says of threads."""
    code = """if True:
        import stages
        import numpy as np
        from alchemist.measures import distances
        rng = np.random.default_rng(0)
        a, b = (rng.normal(size=(700, 600)).astype(np.float32) for _ in range(2))
        print(distances.frechet_distance(a, distances.moments(b)).hex())
    """
    found = set()
    for count in ("1", "2", "3"):
        environment = {**os.environ, "OMP_NUM_THREADS": count}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[2], env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        found.add(done.stdout)
    assert len(found) == 1


@pytest.mark.parametrize(("rows", "size"), [(1, 5), (5, 1), (0, 5)])
def test_a_kernel_distance_of_less_than_two_rows_is_refused(rows, size):
    with pytest.raises(Refusal, match="two rows"):
        kernel_distance(np.ones((rows, 3)), np.ones((5, 3)), 2, size, 0)


def test_a_kernel_distance_of_two_images_each_is_a_number_and_of_none_refused():
    a, b = np.eye(2, 3), np.ones((2, 3))
    assert np.isfinite(kernel_distance(a, b, 3, 500, 0)).all()
    with pytest.raises(Refusal, match="not finite"):
        kernel_distance(a * np.nan, b, 3, 500, 0)
