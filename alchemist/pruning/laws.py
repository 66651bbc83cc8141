"""Pruning by a sampler's law: which ids of a rated pool are kept."""

from collections.abc import Container

import numpy as np
import pandas as pd

from alchemist.core.refusal import Refusal
from alchemist.pruning.rated import checked, percentiles
from alchemist.pruning.sampler import Sampler


def select(table: pd.DataFrame, retention: float, sampler: Sampler) -> "pd.Series[str]":
    """The kept ids, sorted ascending; a function of the set of (id, rating) pairs, not of their order.

    `table` has the columns id (str, unique) and rating (finite float, higher first). Exactly
    `kept_count(len(table), retention)` ids are kept, without replacement; fewer where the sampler's block
    says that it keeps fewer.

    Raises Refusal for an empty table, missing or repeated ids, ratings that are not finite, a
    retention outside (0, 1], a retention larger than what the sampler's values leave, and a law that gives
    no mask (N,) or keeps another number.
    """
    if not (isinstance(retention, int | float) and 0 < retention <= 1):
        raise Refusal(f"retention is {retention!r}; it should be larger than 0 and at most 1.")
    pool = checked(table, sampler.seed)
    sampler.fits(retention)
    count = kept_count(len(pool), retention)
    mask = np.asarray(sampler.keep(pool, count, retention))
    if mask.dtype != np.bool_ or mask.shape != (len(pool),):
        raise Refusal(
            f"the sampler {sampler.sampler} gives {mask.dtype} of the shape {mask.shape}; a mask is legal, "
            f"one bool for each of {len(pool)} pairs."
        )
    kept = int(mask.sum())
    if kept != count and not (sampler.keeps_fewer() and 0 < kept < count):
        raise Refusal(f"the sampler {sampler.sampler} keeps {kept} of {len(pool)} pairs; {count} are legal.")
    return pool.ids[mask].reset_index(drop=True)


def is_of(kept: "pd.Series[str]", table: pd.DataFrame, retention: float, law: Sampler) -> bool:
    """Whether ids, sorted, are those that a law keeps of a table: not so where the table was made anew."""
    chosen = select(table, retention, law)
    return len(chosen) == len(kept) and bool(np.all(chosen.array == kept.array))


def law_of(sampler: Sampler, seed: int) -> Sampler:
    """The law as it draws for a seed of the grid: otherwise for each, even where the rating is the same."""
    return sampler.model_copy(update={"seed": sampler.seed + seed})


def whys(
    rating: "pd.Series[float]", kept: Container[str], ids: list[str], law: Sampler, ratio: float
) -> list[str]:
    """Why each of some ids was kept or not by a law of a seed (`law_of`); `rating` is by id, of all."""
    pool = checked(pd.DataFrame({"id": rating.index, "rating": rating.to_numpy()}), law.seed)
    order = pd.Index(pool.ids.iloc[pool.best_first()])
    total, places = len(order), order.get_indexer(pd.Index(ids))
    count = kept_count(total, ratio)
    found = zip(ids, places.tolist(), strict=True)
    return [law.why(place, total, count, ratio, name in kept) for name, place in found]


def kept_count(total: int, retention: float) -> int:
    """How many of `total` ids are kept: round(retention * total), halves to even, but at least 1."""
    return max(1, round(retention * total))


def percentile_ranks(table: pd.DataFrame, seed: int) -> "pd.Series[float]":
    """Percentile ranks of the ids, indexed by id, best first: 0 for the best, 100 for the worst."""
    pool = checked(table, seed)
    return pd.Series(percentiles(len(pool)), index=pd.Index(pool.ids.iloc[pool.best_first()]))
