"""The order of tens of millions by their leading bits is the order of the whole values."""

import numpy as np
import pandas as pd
import pytest

from alchemist.pruning import rated
from alchemist.pruning.rated import checked, rising

RNG = np.random.default_rng(0)
VALUES = {
    "normal": RNG.normal(size=5000),
    "float32": RNG.normal(size=5000).astype(np.float32).astype(np.float64),
    "few levels": RNG.integers(-3, 4, 5000) * 0.1,
    "one": np.full(5000, -2.5),
    # They differ in bits that share their word with a position.
    "last bits": 1 + RNG.integers(0, 3000, 5000) * 2.0**-52,
    "last bits, negative": -1 - RNG.integers(0, 3000, 5000) * 2.0**-52,
    "around zero": RNG.choice([0.0, -0.0, 5e-324, -5e-324, 1e-300, -1e-300, 1.0, -1.0], 5000),
    "all magnitudes": np.exp(RNG.normal(size=5000) * 100) * RNG.choice([-1, 1], 5000),
    "largest": RNG.choice([np.finfo(float).max, -np.finfo(float).max, 1.0], 5000),
    "two": np.array([1.0, -1.0]),
    "single": np.array([3.0]),
}


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("piece", [3, 1 << 17])
def test_rising_is_a_stable_argsort(name: str, piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = VALUES[name]
    before = values.copy()
    monkeypatch.setattr(rated, "PIECE", piece)
    assert np.array_equal(rising(values), np.argsort(values, kind="stable"))
    assert np.array_equal(values, before)


def test_the_best_comes_first_and_equal_ratings_by_their_noise() -> None:
    ratings = RNG.integers(0, 20, 3000) * 2.0**-52 + 1
    pool = checked(pd.DataFrame({"id": [f"p{i:04d}" for i in range(3000)], "rating": ratings}), seed=4)
    noise = pool.noise("ties")
    assert np.array_equal(pool.best_first(), np.lexsort((noise, -ratings)))
    top = np.zeros(3000, dtype=bool)
    top[pool.best_first()[:700]] = True
    assert np.array_equal(pool.top(700), top)


def test_noise_of_chosen_ids_is_that_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = checked(pd.DataFrame({"id": [f"p{i:04d}" for i in range(1000)], "rating": 0.0}), seed=4)
    chosen = RNG.random(1000) < 0.3
    chosen[200:600] = False
    chosen[700:900] = True
    monkeypatch.setattr(rated, "PIECE", 100)
    assert np.array_equal(pool.noise("x", chosen), np.where(chosen, pool.noise("x"), 0))
    assert not np.array_equal(pool.noise("x"), pool.noise("y"))
