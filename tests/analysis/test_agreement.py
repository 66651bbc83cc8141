import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from alchemist.analysis import agreement
from alchemist.analysis.agreement import percentiles
from alchemist.core.refusal import Refusal

IDS = [f"id-{i:03d}" for i in range(60)]


def series(values: np.ndarray, order: int = 0) -> "pd.Series[float]":
    return pd.Series(values, index=IDS).sample(frac=1, random_state=order)


def test_rank_correlation_is_spearmans_seed_by_seed_whatever_the_order_of_rows() -> None:
    rng = np.random.default_rng(0)
    a = [rng.integers(9, size=60).astype(float) for _ in range(3)]  # with ties
    b = [x + rng.normal(0, 3, 60) for x in a]
    ratings = {"a": {s: series(a[s], s) for s in range(3)}, "b": {s: series(b[s], 7 - s) for s in range(3)}}
    itself, between, _ = agreement.rank_correlations(ratings)
    each = [stats.spearmanr(a[s], b[s]).statistic for s in range(3)]
    assert (between.first, between.second, between.n) == ("a", "b", 3)
    assert (between.mean, between.low, between.high) == pytest.approx((np.mean(each), min(each), max(each)))
    ceiling = [stats.spearmanr(a[s], a[t]).statistic for s, t in ((0, 1), (0, 2), (1, 2))]
    assert (itself.second, itself.n, itself.mean) == ("a", 3, pytest.approx(np.mean(ceiling)))
    matrix = agreement.correlation_matrix([itself, between, _])
    assert matrix.loc["b", "a"] == matrix.loc["a", "b"] == between.mean
    assert matrix.loc["a", "a"] == itself.mean


def test_a_rater_without_seeds_agrees_with_itself() -> None:
    fixed = series(np.arange(60.0))
    turned = {s: series(-(np.arange(60.0) ** 3)) for s in range(2)}
    found = agreement.rank_correlations({"fixed": dict.fromkeys(range(2), fixed), "turned": turned})
    assert [(c.first, c.second) for c in found] == [
        ("fixed", "fixed"), ("fixed", "turned"), ("turned", "turned"),
    ]  # fmt: skip
    assert [c.mean for c in found] == pytest.approx([1, -1, 1])


def test_what_cannot_be_compared_is_nan_and_no_refusal() -> None:
    constant, rising = series(np.zeros(60)), series(np.arange(60.0))
    found = agreement.rank_correlations({"c": {0: constant}, "r": {0: rising}})
    assert [c.n for c in found] == [0, 1, 0]
    assert all(math.isnan(c.mean) for c in found)


def test_other_ids_are_refused() -> None:
    with pytest.raises(Refusal, match="b with seed 0"):
        agreement.rank_correlations(
            {"a": {0: series(np.arange(60.0))}, "b": {0: pd.Series([1.0], ["id-000"])}}
        )


def test_correlation_is_corrected_by_how_far_each_rater_agrees_with_itself() -> None:
    rng = np.random.default_rng(0)
    a = [np.arange(60.0) + rng.normal(0, 9, 60) for _ in range(3)]
    b = [np.arange(60.0) + rng.normal(0, 30, 60) for _ in range(4)]
    ratings = {"a": {s: series(a[s], s) for s in range(3)}, "b": {s: series(b[s], 7 - s) for s in range(4)}}
    found = agreement.corrected_correlation(ratings, "a", "b")
    assert found is not None

    def rho(x: np.ndarray, y: np.ndarray) -> float:
        return float(stats.spearmanr(x, y).statistic)

    # The fourth seed of b has no partner, so that it counts nowhere.
    own = [np.mean([rho(x[0], x[1]), rho(x[0], x[2]), rho(x[1], x[2])]) for x in (a, b)]
    assert (found.first, found.second) == pytest.approx(tuple(own))
    assert found.seen == pytest.approx({s: rho(a[s], b[s]) for s in range(3)})
    assert found.corrected == pytest.approx(
        {s: v / math.sqrt(own[0] * own[1]) for s, v in found.seen.items()}
    )


@pytest.mark.parametrize("r", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_corrected_correlation_is_that_without_noise(r: float, noise: float) -> None:
    rng = np.random.default_rng(1)
    ids = [str(i) for i in range(20_000)]
    x, z = rng.normal(size=(2, 20_000))
    y = r * x + math.sqrt(1 - r**2) * z
    ratings = {
        name: {s: pd.Series(true + rng.normal(0, noise, 20_000), ids) for s in range(3)}
        for name, true in (("a", x), ("b", y))
    }
    found = agreement.corrected_correlation(ratings, "a", "b")
    assert found is not None
    # Spearman's correlation of two Gaussians of correlation r; for ranks the correction is nearly exact.
    true = 6 / math.pi * math.asin(r / 2)
    assert np.mean(list(found.corrected.values())) == pytest.approx(true, abs=0.02)


def test_no_correction_without_seeds_or_where_a_rater_does_not_agree_with_itself() -> None:
    up, down, flat = series(np.arange(60.0)), series(-np.arange(60.0)), series(np.zeros(60))
    for a, b in (
        ({0: up}, {0: up}), ({0: up, 1: up}, {1: up, 2: up}), ({0: up, 1: down}, {0: up, 1: up}),
        ({0: up, 1: up}, {0: up, 1: flat}),
    ):  # fmt: skip
        assert agreement.corrected_correlation({"a": a, "b": b}, "a", "b") is None
    same = agreement.corrected_correlation({"a": {0: up, 1: up}, "b": {0: down, 1: down}}, "a", "b")
    assert same is not None
    assert same.corrected == pytest.approx({0: -1.0, 1: -1.0})


def test_auc_counts_pairs_and_half_of_ties() -> None:
    rating = pd.Series([3.0, 1.0, 1.0, 0.0])
    positive = np.array([True, True, False, False])
    # Of four pairs: 3 > 1, 3 > 0, 1 > 0, and 1 = 1.
    assert agreement.auc(rating, positive) == 3.5 / 4
    assert math.isnan(agreement.auc(rating, np.zeros(4, dtype=bool)))


def test_auc_by_kind_is_one_kind_against_all_others() -> None:
    kinds = pd.Series(["best", "middle", "last"] * 20, index=IDS)
    value = kinds.map({"best": 3.0, "middle": 2.0, "last": 1.0}).to_numpy()
    rater = {0: series(value, 3), 1: series(-value, 5), 2: series(value)}
    found = agreement.auc_by_kind(
        {"r": rater, "one": {0: series(value)}}, kinds.sample(frac=1, random_state=2)
    )
    cells = found.set_index(["rater", "kind"])
    assert cells.loc["one", "mean"].to_dict() == {"best": 1.0, "last": 0.0, "middle": 0.5}
    assert cells.loc["one", "sd"].isna().all()
    assert cells.loc[("r", "best"), "mean"] == pytest.approx(2 / 3)
    assert cells.loc[("r", "best"), "sd"] == pytest.approx(math.sqrt(1 / 3))
    assert cells.loc[("r", "middle"), ["mean", "sd", "n"]].tolist() == [0.5, 0.0, 3]


def test_percentiles_put_the_best_near_zero() -> None:
    found = agreement.percentiles(pd.Series([5.0, 9.0, 1.0, 1.0]))
    assert found.tolist() == [37.5, 12.5, 75.0, 75.0]


def test_percentiles_are_zero_at_the_best_and_fifty_on_average() -> None:
    found = percentiles(pd.Series([5.0, 9.0, 7.0, 7.0]))
    assert found.tolist() == [87.5, 12.5, 50.0, 50.0]
