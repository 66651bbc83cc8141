"""Pruning laws: which ids of a rated pool are kept.

A law acts on percentile ranks w in [0, 100]: 0 is the highest rating, 100 the lowest. Equal ratings
are ordered by a seeded hash of the id, so no result depends on the order of the table's rows.

Where the values come from
- Paper, eq. 11: drop the top n %, then p(i) ~ exp(-(w_i - mean)^2 / (2 sigma^2)) on the rest. It
  states neither n nor mean nor sigma.
- History of the authors' experiment configurations: n = 25 % up to a retention of 50 %, 15 % at 80 %
  and 5 % at 90 %; for Gsample names that read as mean N/2 and sigma N/6 (16.7 %).
- Our choice: the steps of n between those retentions, the mean in the middle of the remainder,
  sigma 15 % for Shift-Gsample, the centred block, and sampling without replacement (which an
  exact count needs).
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms
from alchemist.settings.selection import SelectionSettings, check_start, shift_drop

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

GSAMPLE_MEAN, GSAMPLE_SIGMA = 50.0, 16.7
SHIFT_GSAMPLE_SIGMA = 15.0
_PIECE = 1 << 20  # ids hashed at a time


def select(table: pd.DataFrame, retention: float, settings: SelectionSettings) -> pd.Series:
    """The kept ids, sorted ascending; a function of the set of (id, rating) pairs, not of their order.

    `table` has the columns id (str, unique) and rating (finite float, higher first). Exactly
    `kept_count(len(table), retention)` ids are kept, without replacement.

    Raises Refusal for an empty table, missing or repeated ids, ratings that are not finite, a
    retention outside (0, 1], and a retention larger than what `drop` or `start` leave.
    """
    if not (isinstance(retention, int | float) and 0 < retention <= 1):
        raise Refusal(f"retention is {retention!r}; it should be larger than 0 and at most 1.")
    ids, rating = _checked(table)
    count = kept_count(len(ids), retention)
    seed = settings.seed

    # --- the law, as a mask over the ids
    if settings.sampler == "full":
        if count < len(ids):
            raise Refusal(f"retention is {retention}; sampler full keeps all, so it should be 1.0.")
        mask = np.ones(len(ids), dtype=bool)
    elif settings.sampler == "random":
        mask = _largest(_noise(ids, "random", seed), count)
    elif settings.sampler == "topk":
        mask = _top(rating, ids, count, seed)
    elif settings.sampler == "block":
        first = block_start(len(ids), count, retention, settings.start)
        order = _descending(rating, ids, seed)
        mask = np.zeros(len(ids), dtype=bool)
        mask[order[first : first + count]] = True
    elif settings.sampler == "gsample":  # eq. 11 without the shift
        mean = GSAMPLE_MEAN if settings.mean is None else settings.mean
        sigma = GSAMPLE_SIGMA if settings.sigma is None else settings.sigma
        order, noise = _descending(rating, ids, seed), _noise(ids, "gsample", seed)
        mask = _gaussian(order, noise, 0, count, mean=mean, sigma=sigma)
    else:  # Shift-Gsample: the top `drop` % away, then eq. 11 on the rest
        drop = shift_drop(retention, settings.drop)
        # Rounding may leave one id too few where drop and retention add up to 100 %.
        dropped = min(round(drop / 100 * len(ids)), len(ids) - count)
        mean = drop + (100 - drop) / 2 if settings.mean is None else settings.mean
        sigma = SHIFT_GSAMPLE_SIGMA if settings.sigma is None else settings.sigma
        order, noise = _descending(rating, ids, seed), _noise(ids, "gsample", seed)
        mask = _gaussian(order, noise, dropped, count, mean=mean, sigma=sigma)

    kept = ids[mask].reset_index(drop=True)
    assert len(kept) == count
    return kept


def kept_count(total: int, retention: float) -> int:
    """How many of `total` ids are kept: round(retention * total), halves to even, but at least 1."""
    return max(1, round(retention * total))


def percentile_ranks(table: pd.DataFrame, seed: int) -> pd.Series:
    """Percentile ranks of the ids, indexed by id, best first: 0 for the best, 100 for the worst."""
    ids, rating = _checked(table)
    return pd.Series(_percentiles(len(ids)), index=pd.Index(ids.iloc[_descending(rating, ids, seed)]))


def _checked(table: pd.DataFrame) -> tuple["pd.Series[str]", Floats]:
    """Ids in ascending order and their ratings. The order of ids stands for the table's own order."""
    if len(table) == 0:
        raise Refusal("the rating table is empty; it should have at least one id.")
    if table["id"].isna().any():
        raise Refusal("the rating table has a row without an id; every row should have one.")
    # Neighbours are compared as arrays: many times faster than is_monotonic_increasing and duplicated.
    if (table["id"].array[:-1] > table["id"].array[1:]).any():
        table = table.sort_values("id", kind="stable")
    ids = table["id"].reset_index(drop=True)
    rating = table["rating"].to_numpy(dtype=np.float64)
    twice = ids.array[:-1] == ids.array[1:]
    if twice.any():
        raise Refusal(f"id {ids[int(twice.argmax())]!r} is in the rating table twice; ids should be unique.")
    broken = ~np.isfinite(rating)
    if broken.any():
        row = int(broken.argmax())
        raise Refusal(f"the rating of id {ids[row]!r} is {rating[row]}; ratings should be finite numbers.")
    return ids, rating


def block_start(total: int, count: int, retention: float, start: float | None) -> int:
    """Rank of a block's first id. Without `start` the block lies in the middle of the ranking."""
    if start is None:
        return (total - count) // 2
    check_start(retention, start)
    return min(round(start / 100 * total), total - count)


def _descending(rating: Floats, ids: "pd.Series[str]", seed: int) -> NDArray[np.intp]:
    """Positions from the highest rating to the lowest, equal ratings in the order of the ids' hashes."""
    order = np.argsort(-rating)
    sorted_rating = rating[order]
    equal = sorted_rating[1:] == sorted_rating[:-1]
    tied = np.zeros(len(order), dtype=bool)
    tied[1:] |= equal
    tied[:-1] |= equal
    if tied.any():
        # The tied places hold whole runs of equal ratings, so sorting them alone leaves each run in
        # place. They start in the order of their ids, which decides where even hashes are equal.
        rows = np.sort(order[tied])
        rows = rows[np.argsort(_noise(ids.iloc[rows], "ties", seed))]
        order[tied] = rows[np.argsort(-rating[rows], kind="stable")]  # faster than lexsort
    return order


def _top(rating: Floats, ids: "pd.Series[str]", count: int, seed: int) -> Mask:
    """The `count` highest ratings, without sorting them all; ties as in `_descending`."""
    limit = np.partition(rating, len(rating) - count)[len(rating) - count]
    mask: Mask = rating > limit
    tied = np.flatnonzero(rating == limit)
    noise = _noise(ids.iloc[tied], "ties", seed)
    mask[tied[np.argsort(noise, kind="stable")[: count - int(mask.sum())]]] = True
    return mask


def _largest(score: Floats, count: int) -> Mask:
    """The `count` largest scores; of equal ones the first by id."""
    limit = np.partition(score, len(score) - count)[len(score) - count]
    mask: Mask = score > limit
    mask[np.flatnonzero(score == limit)[: count - int(mask.sum())]] = True
    return mask


def _gaussian(
    order: NDArray[np.intp], noise: Floats, dropped: int, count: int, *, mean: float, sigma: float
) -> Mask:
    """`count` draws without replacement from the ranks after the first `dropped`, by eq. 11.

    The largest of log p_i + Gumbel noise are distributed as successive draws with chances
    proportional to p_i among those left (Efraimidis & Spirakis 2006; Kool et al. 2019). In log
    space no tail underflows, so the count is exact for any sigma.
    """
    # --- log p_i = -(w_i - mean)^2 / (2 sigma^2), w_i the percentile ranks of what is left
    rest = order[dropped:]
    score = _percentiles(len(order))[dropped:]
    score -= mean
    score /= sigma
    with np.errstate(over="ignore"):  # an infinitely far tail is drawn last, best rank first
        np.square(score, out=score)
    score *= -0.5
    # --- plus Gumbel noise, and the largest
    score -= np.log(-np.log(np.minimum(noise[rest], 1 - 2**-53)))  # 1 itself would be infinite noise
    mask = np.zeros(len(order), dtype=bool)
    mask[rest[_largest(score, count)]] = True
    return mask


def _percentiles(total: int) -> Floats:
    """Percentile ranks in descending order of rating: 0 for the first, 100 for the last of many."""
    return np.linspace(0, 100, total)


def _noise(ids: "pd.Series[str]", *parts: object) -> Floats:
    """Seeded uniform numbers of the ids, in pieces, so that few ids are Python objects at a time."""
    noise = np.empty(len(ids))
    for start in range(0, len(ids), _PIECE):
        piece = slice(start, start + _PIECE)
        noise[piece] = id_uniforms(ids.iloc[piece].to_numpy(dtype=object), *parts)
    return noise
