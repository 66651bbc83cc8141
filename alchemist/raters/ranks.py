"""Ratings by the rank of a pair among those of its group: firsts, then seconds and so on, a quota a group."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import stateless

Floats = NDArray[np.float64]


def ranks(groups: NDArray[np.uint64], rows: pd.DataFrame, seed: int) -> Floats:
    """Minus the number (N,) of pairs of the same group that come before, by a hash of seed and id.

    `rows`: id and lent, in the order of `groups` (N,). What is lent to another split comes last, so that
    those which are trained on begin at 0. A function of the set of pairs, whatever their order.
    """
    draws = stateless.id_uniforms(rows["id"], "ranks", seed)
    order = np.lexsort((draws, rows["lent"].to_numpy(), groups))
    _, begins, counts = np.unique(groups[order], return_index=True, return_counts=True)
    out = np.empty(len(rows))
    out[order] = np.repeat(begins, counts) - np.arange(len(rows))
    return out
