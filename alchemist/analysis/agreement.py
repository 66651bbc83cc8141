"""How far ratings agree: rank correlations of raters and seeds, percentiles, AUC of planted kinds.

Ratings are given as `ratings[rater][seed]`, a Series of floats by id (higher is kept first). A rater
without seeds stands under every seed with the same Series.
"""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from alchemist.core.refusal import Refusal

Ratings = Mapping[str, Mapping[int, "pd.Series[float]"]]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's correlation of two raters, each seed with itself; of one rater, between its seeds.

    A rater's correlation with itself is the noise ceiling: no rater of a like noise can agree with
    it better. NaN where nothing can be compared (one seed, or a constant rating).
    """

    first: str
    second: str
    mean: float
    low: float  # least and largest over the n comparisons
    high: float
    n: int  # seeds; pairs of seeds where first and second are one rater


@dataclass(frozen=True)
class Corrected:
    """Spearman's correlation of two raters, each seed with itself, corrected for the noise of both."""

    seen: dict[int, float]  # by seed, as it is
    first: float  # the raters' correlations with themselves, mean over pairs of those seeds
    second: float
    corrected: dict[int, float]  # by seed: seen / sqrt(first x second), by chance also above 1


def rank_correlations(ratings: Ratings) -> list[RankCorrelation]:
    """Every two raters and every rater with itself, in the order of `ratings` (upper triangle by rows).

    Two raters are compared over the seeds that both have. Raises Refusal where two Series hold
    different ids.
    """
    ranks = _ranks(ratings)
    out = []
    for first, second in itertools.combinations_with_replacement(ranks, 2):
        if first == second:
            pairs = [(ranks[first][s], ranks[first][t]) for s, t in itertools.combinations(ranks[first], 2)]
        else:
            pairs = [(ranks[first][s], ranks[second][s]) for s in ranks[first] if s in ranks[second]]
        found = [_product(a, b) for a, b in pairs] or [float("nan")]
        # Not nanmean: a constant rating agrees with nothing, and a mean over the rest would hide it.
        out.append(
            RankCorrelation(
                first, second, float(np.mean(found)), float(np.min(found)), float(np.max(found)), len(pairs)
            )
        )
    return out


def corrected_correlation(ratings: Ratings, first: str, second: str) -> Corrected | None:
    """The correlation that two raters would have without the noise of their seeds.

    Two noisy ratings of one order agree no better than either agrees with itself, so the correlation is
    divided by the geometric mean of both self-agreements: the correction for attenuation of C. Spearman,
    The proof and measurement of association between two things, American Journal of Psychology 15
    (1904), pages 72 to 101. It takes the noise of both as independent, and holds nearly for ranks. Both
    self-agreements are taken as known: their own error is no part of how the seeds scatter.

    None where the raters have fewer than two seeds in common, or one does not agree with itself. Raises
    Refusal as `rank_correlations` does.
    """
    seeds = sorted(set(ratings[first]) & set(ratings[second]))
    if len(seeds) < 2:
        return None
    ranks = _ranks({name: {seed: ratings[name][seed] for seed in seeds} for name in (first, second)})
    seen = {seed: _product(ranks[first][seed], ranks[second][seed]) for seed in seeds}
    pairs = list(itertools.combinations(seeds, 2))
    own = [float(np.mean([_product(ranks[n][s], ranks[n][t]) for s, t in pairs])) for n in (first, second)]
    if not all(value > 0 for value in own):  # nor NaN, of a constant rating
        return None
    ceiling = math.sqrt(own[0] * own[1])
    return Corrected(seen, own[0], own[1], {seed: rho / ceiling for seed, rho in seen.items()})


def _ranks(ratings: Ratings) -> dict[str, dict[int, Floats]]:
    """Ranks, centred and of length one, in one order of ids; zeros for a constant rating."""
    ids: pd.Index[str] | None = None
    out: dict[str, dict[int, Floats]] = {}
    for rater, by_seed in ratings.items():
        out[rater] = {}
        done: dict[int, Floats] = {}  # a rater without seeds gives the same Series for each
        for seed in sorted(by_seed):
            rating = by_seed[seed]
            if id(rating) not in done:
                ids = rating.index if ids is None else ids
                at = places(rating.index, ids)
                if at is None:
                    raise Refusal(f"the rater {rater} with seed {seed} rates other ids than the first rater.")
                ranks = stats.rankdata(rating.to_numpy(dtype=np.float64)[at])
                centred = ranks - ranks.mean()
                length = float(np.linalg.norm(centred))
                done[id(rating)] = centred / length if length > 0 else centred
            out[rater][seed] = done[id(rating)]
    return out


def places(found: "pd.Index[str]", ids: "pd.Index[str]") -> NDArray[np.intp] | None:
    """Where distinct ids stand in an index that holds each of them once and no other; None for another index.

    A look-up, since pandas' `isin` of strings takes many times as long.
    """
    if len(found) != len(ids) or not found.is_unique:
        return None
    at = found.get_indexer(ids)
    return None if (at < 0).any() else at


def _product(a: Floats, b: Floats) -> float:
    if not a.any() or not b.any():
        return float("nan")
    return float(np.clip(a @ b, -1.0, 1.0))


def correlation_matrix(correlations: Iterable[RankCorrelation]) -> pd.DataFrame:
    """The means as a symmetric table raters x raters; on the diagonal the noise ceilings."""
    means: dict[str, dict[str, float]] = {}
    for c in correlations:
        means.setdefault(c.first, {})[c.second] = c.mean
        means.setdefault(c.second, {})[c.first] = c.mean
    names = list(means)
    return pd.DataFrame(means).reindex(index=names, columns=names)


def percentiles(rating: "pd.Series[float]") -> "pd.Series[float]":
    """Percentile of every pair, near 0 for the best; equal ratings share their mean, so the mean is 50."""
    return (rating.rank(ascending=False, method="average") - 0.5) / len(rating) * 100


def auc(rating: "pd.Series[float]", positive: NDArray[np.bool_]) -> float:
    """Chance that a positive pair is rated above another, ties counted half; NaN where a side is empty."""
    return _auc(stats.rankdata(rating.to_numpy(dtype=np.float64)), positive)


def _auc(ranks: Floats, positive: NDArray[np.bool_]) -> float:
    n, m = int(positive.sum()), int((~positive).sum())
    if n == 0 or m == 0:
        return float("nan")
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * m))


def auc_by_kind(ratings: Ratings, kinds: "pd.Series[str]") -> pd.DataFrame:
    """A row a rater and kind, columns rater, kind, mean, sd, n (seeds).

    The AUC is the chance that a pair of that kind is rated above one of any other kind, ties counted
    half. `sd` is over n - 1 seeds and NaN for one seed. `kinds` are by id, and only ids that have a
    kind count. Use `.pivot(index="rater", columns="kind", values="mean")` for a table raters x kinds.
    """
    kinds = kinds.dropna()
    names = sorted(kinds.unique())
    rows = []
    for rater, by_seed in ratings.items():
        values = []
        for seed in sorted(by_seed):
            rating = by_seed[seed]
            rating = rating[rating.index.isin(kinds.index)]
            ranks, here = stats.rankdata(rating.to_numpy(dtype=np.float64)), kinds.reindex(rating.index)
            values.append([_auc(ranks, (here == kind).to_numpy(dtype=bool)) for kind in names])
        table = np.array(values)
        for column, kind in enumerate(names):
            found = table[:, column]
            sd = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
            rows.append(
                {"rater": rater, "kind": kind, "mean": float(found.mean()), "sd": sd, "n": len(found)}
            )
    return pd.DataFrame(rows, columns=["rater", "kind", "mean", "sd", "n"])
