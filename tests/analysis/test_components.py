"""Variance components: what was put in comes out, and a balanced design is asked for."""

import itertools

import numpy as np
import pandas as pd
import pytest

from alchemist.analysis.components import Component, components, variance_of_mean

LEVELS = ("rater", "subset", "target")


def design(counts: tuple[int, int, int], sds: tuple[float, float, float], seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    drawn: dict[tuple[int, ...], float] = {}
    for key in itertools.product(*map(range, counts)):
        value = 100.0
        for depth, sd in enumerate(sds):
            part = key[: depth + 1]
            value += drawn.setdefault(part, sd * rng.standard_normal())
        rows.append({**dict(zip(LEVELS, key, strict=True)), "fd": value})
    return pd.DataFrame(rows)


def test_components_are_unbiased() -> None:
    sds = (3.0, 2.0, 1.0)
    tables = [design((3, 2, 2), sds, seed) for seed in range(400)]
    found = np.array([[c.variance for c in components(t, LEVELS, "fd")] for t in tables])
    error = found.std(axis=0) / np.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - np.square(sds)) < 4 * error).all()
    assert (4 * error < [3.0, 1.2, 0.2]).all()  # so that the line above can fail


def test_one_level_is_the_sample_variance() -> None:
    table = design((9, 1, 1), (2.0, 0.0, 0.0), 1)
    found = components(table, LEVELS, "fd")
    assert found[0].variance == pytest.approx(table["fd"].var(ddof=1))
    assert [c.freedom for c in found] == [8, 0, 0]


def test_rows_in_any_order() -> None:
    table = design((3, 2, 2), (1.0, 1.0, 1.0), 2)
    mixed = table.sample(frac=1, random_state=0)
    for one, other in zip(components(table, LEVELS, "fd"), components(mixed, LEVELS, "fd"), strict=True):
        assert one.variance == pytest.approx(other.variance)


def test_an_unbalanced_design_is_refused() -> None:
    with pytest.raises(ValueError, match="target has from 1 to 2"):
        components(design((3, 2, 2), (1.0, 1.0, 1.0), 3).iloc[1:], LEVELS, "fd")


def test_more_of_a_level_shrink_it_and_what_is_below() -> None:
    found = [Component("rater", 4.0, 2, 3), Component("subset", -1.0, 3, 2), Component("target", 6.0, 6, 2)]
    assert variance_of_mean(found, {"rater": 2}) == pytest.approx(4 / 2 + 6 / 2)
    assert variance_of_mean(found, {"rater": 2, "subset": 3}) == pytest.approx(4 / 2 + 6 / 6)
