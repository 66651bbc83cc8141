"""What became of every pair of a pool in one selection: kept or pruned with its rating, or why it is neither.

Memory is 25 bytes a rated pair beside the table of ratings that it is made from; the index is streamed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.core.siphash import hashes
from alchemist.pools.index import is_rated
from alchemist.pools.store import INDEX
from alchemist.pruning.rated import Rated, percentiles

KEPT, PRUNED, REJECTED, HELD_OUT = OUTCOMES = ("kept", "pruned", "rejected", "held out")
ROWS = 8192  # of the index, in memory at once
_READ = ["id", "split", "status", "reason", "lent"]


class Verdicts:
    """Of every rated pair its rating, its percentile (0: the highest rating) and whether it is kept."""

    def __init__(self, rated: Rated, kept: "pd.Series[str]") -> None:
        """`kept` are ids of `rated`. Raises Refusal for one that is not, or that stands there twice."""
        found = hashes(rated.ids)
        order = np.argsort(found)
        self.hashes, self.rating = found[order], rated.rating[order]
        del found
        percentile = np.empty(len(rated))
        percentile[rated.best_first()] = percentiles(len(rated))
        self.percentile = percentile[order]
        del percentile
        # Of 30 million ids two have the same hash with a chance of 2e-5: those are told apart by themselves.
        alike = self.hashes[1:] == self.hashes[:-1]
        places = np.flatnonzero(np.append(alike, False) | np.insert(alike, 0, False))
        self.alike = {str(rated.ids.iloc[order[place]]): int(place) for place in places}
        at = self.places(kept, "the kept ids hold {}, which is not in the table of ratings; run dvc repro.")
        self.kept = np.zeros(len(rated), dtype=np.bool_)
        self.kept[at] = True
        if self.kept.sum() != len(kept):
            raise Refusal("the kept ids hold one twice; run dvc repro.")

    def __len__(self) -> int:
        return len(self.hashes)

    def places(self, ids: ArrayLike, refused: str) -> NDArray[np.int64]:
        """Where ids stand in the arrays, (N,). Raises Refusal, `refused` with the first that does not."""
        own = hashes(ids)
        at = np.minimum(np.searchsorted(self.hashes, own), max(len(self.hashes) - 1, 0))
        missing = self.hashes[at] != own
        if missing.any():
            first = pd.Series(ids).iloc[int(missing.argmax())]
            raise Refusal(refused.format(f"'{one_line(str(first))}'"))
        if self.alike:
            at = np.array(
                [self.alike.get(str(name), place) for name, place in zip(pd.Series(ids), at, strict=True)]
            )
        return at


@dataclass(frozen=True)
class Selected:
    """A pool with the verdicts of one selection, whose name stands in the reasons."""

    pool: Path
    verdicts: Verdicts
    name: str

    def pairs(self) -> int:
        """All pairs of the pool."""
        with pq.ParquetFile(self.pool / INDEX) as index:
            return int(index.metadata.num_rows)

    def rows(self, columns: tuple[str, ...] = ()) -> Iterator[pd.DataFrame]:
        """All rows of the index in their order, some thousands at a time: id, split, `columns`, and

        outcome    one of OUTCOMES
        why        "" for a kept pair; the reason, or the selection or the split by whose doing it is not kept
        rating, percentile   NaN for a pair that is not rated

        Raises Refusal where the ratings are not those of this pool.
        """
        read = list(dict.fromkeys([*_READ, *columns]))
        rated = 0
        with pq.ParquetFile(self.pool / INDEX) as index:
            for batch in index.iter_batches(ROWS, columns=read):
                rows = batch.to_pandas()
                is_usable = (rows["status"] == "ok").to_numpy()
                rated_here = is_rated(rows).to_numpy()
                rated += int(rated_here.sum())
                yield self._told(rows, is_usable, rated_here)
        if rated != len(self.verdicts):
            raise Refusal(
                f"{self.pool} has {rated:,} pairs to rate, and the table of ratings {len(self.verdicts):,}; "
                "run dvc repro."
            )

    def _told(
        self, rows: pd.DataFrame, is_usable: NDArray[np.bool_], is_rated: NDArray[np.bool_]
    ) -> pd.DataFrame:
        verdicts = self.verdicts
        at = verdicts.places(
            rows["id"][is_rated], f"{self.pool} has {{}}, which has no rating; run dvc repro."
        )
        outcome = np.where(is_usable, HELD_OUT, REJECTED).astype(object)
        outcome[is_rated] = np.where(verdicts.kept[at], KEPT, PRUNED)
        reason = rows["reason"].to_numpy(dtype=object)
        held = np.where(reason == "", "in the split " + rows["split"].to_numpy(dtype=object), reason)
        why = np.where(is_usable, held, reason)
        why[is_rated] = np.where(verdicts.kept[at], "", f"by {self.name}")
        numbers = {"rating": verdicts.rating, "percentile": verdicts.percentile}
        for name, values in numbers.items():
            column = np.full(len(rows), np.nan)
            column[is_rated] = values[at]
            rows[name] = column
        return rows.drop(columns=["status", "reason", "lent"]).assign(outcome=outcome, why=why)
