import numpy as np
import pandas as pd
import pytest

from alchemist.analysis.grid import FULL
from alchemist.analysis.results import Stat
from alchemist.report.makeup import (
    decile_shares,
    deciles,
    kind_percentiles,
    loss_bands,
    mean_decile_shares,
    subset_shares,
)


def test_decile_shares_by_hand() -> None:
    # Twenty pairs: the best two are plain, the next five informative, the rest chaotic.
    kinds = ["plain"] * 2 + ["informative"] * 5 + ["chaotic"] * 13
    ids = [f"p{i}" for i in range(20)]
    rating = pd.Series(np.arange(20, 0, -1.0), index=ids).sample(frac=1, random_state=0)
    shares = decile_shares(rating, pd.Series(kinds, index=ids))
    assert shares.index.tolist() == list(range(10))
    assert shares["plain"].tolist() == [1.0] + [0.0] * 9
    assert shares["informative"].tolist() == [0, 1, 1, 0.5] + [0] * 6
    assert np.allclose(shares.sum(axis=1), 1)


def test_deciles_are_even_even_where_ratings_tie() -> None:
    counts = deciles(pd.Series(0.0, index=[f"p{i}" for i in range(203)])).value_counts()
    assert sorted(counts) == [20] * 7 + [21] * 3


def test_kinds_and_deciles_are_means_over_seeds() -> None:
    kinds = pd.Series(["plain", "informative", "informative", "plain"], index=list("wxyz"))
    first = pd.Series([4.0, 3, 2, 1], index=list("wxyz"))
    found = kind_percentiles({0: first, 1: pd.Series([4.0, 2, 1, 3], index=list("wxyz"))}, kinds)
    # Plain at 12.5 and 87.5, then at 12.5 and 37.5.
    assert found["plain"] == Stat(37.5, pytest.approx(25 / 2**0.5), 2)
    assert found["informative"].mean == 62.5
    alone = kind_percentiles({0: first}, kinds)
    assert alone == {"informative": Stat(50.0, None, 1), "plain": Stat(50.0, None, 1)}
    ids = [f"p{i}" for i in range(10)]
    up, down = pd.Series(np.arange(10.0), index=ids), pd.Series(-np.arange(10.0), index=ids)
    kinds = pd.Series(["plain"] * 2 + ["chaotic"] * 8, index=ids)
    shares = mean_decile_shares({0: up, 1: down}, kinds)
    assert shares["plain"].tolist() == [0.5, 0.5, 0, 0, 0, 0, 0, 0, 0.5, 0.5]


def test_loss_bands_join_the_seeds_of_both_raters() -> None:
    ids = [f"p{i:02d}" for i in range(20)]
    rating = pd.Series(np.arange(20, 0, -1.0), index=ids)
    losses = {0: pd.Series(np.arange(20.0), index=ids), 3: pd.Series(np.arange(20.0)[::-1], index=ids)}
    bands = loss_bands({0: rating, 3: rating}, losses)
    assert bands.index.tolist() == list(range(1, 11))
    assert bands[0].tolist() == [0.5 + 2 * i for i in range(10)]
    assert bands[3].tolist() == [18.5 - 2 * i for i in range(10)]


def test_subset_shares_are_means_over_seeds() -> None:
    kinds = pd.Series(["plain", "plain", "chaotic", "chaotic"], index=list("wxyz"))
    subsets = {("a", 0.5, 0): pd.Series(list("wx")), ("a", 0.5, 1): pd.Series(list("xy"))}
    made = subset_shares(subsets, kinds)
    assert made == {(FULL, 1.0): {"chaotic": 0.5, "plain": 0.5}, ("a", 0.5): {"plain": 0.75, "chaotic": 0.25}}
