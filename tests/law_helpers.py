"""The laws of samplers in closed form, by every order of draws."""

import itertools
import math

import numpy as np


def gauss(count: int, mean: float, sigma: float) -> np.ndarray:
    ranks = np.array([100 * i / (count - 1) for i in range(count)])
    weight = np.exp(-((ranks - mean) ** 2) / (2 * sigma**2))
    return weight / weight.sum()


def set_chances(chance: np.ndarray, k: int) -> dict[tuple[int, ...], float]:
    """Exact chance of every set of k, by enumerating the orders of successive draws."""
    out: dict[tuple[int, ...], float] = {}
    for draws in itertools.permutations(range(len(chance)), k):
        left, product = 1.0, 1.0
        for i in draws:
            product *= chance[i] / left
            left -= chance[i]
        out[tuple(sorted(draws))] = out.get(tuple(sorted(draws)), 0.0) + product
    assert math.isclose(sum(out.values()), 1)
    return out
