"""Which pairs of a pool are rated, and the rows of its index by parts, whose memory does not grow with it."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import stateless
from alchemist.pools.store import INDEX, usable

COLUMNS = ["id", "split", "status", "lent"]  # of the index, by which `is_rated` tells, and ids


def is_rated(index: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows of an index (N, split, status, lent) are rated: usable ones of the split pool or lent."""
    return (index["status"] == "ok") & ((index["split"] == "pool") | index["lent"])


def rated_rows(index: pd.DataFrame) -> pd.DataFrame:
    """The rows that are rated: those of the split pool, then those lent to other splits."""
    lent = index[is_rated(index) & (index["split"] != "pool")]
    return pd.concat([usable(index, "pool"), lent])


def count_rated(folder: Path) -> int:
    """How many pairs of a pool are rated; the index is streamed."""
    with pq.ParquetFile(folder / INDEX) as index:
        return sum(int(is_rated(part.to_pandas()).sum()) for part in index.iter_batches(columns=COLUMNS[1:]))


def some_rated(folder: Path, count: int, columns: list[str]) -> pd.DataFrame:
    """Some rated pairs of a pool, the first `count` by a hash of their ids. The index is streamed."""
    found = pd.DataFrame(columns=columns)
    with pq.ParquetFile(folder / INDEX) as index:
        for batch in index.iter_batches(columns=columns):
            rows = batch.to_pandas()
            rows = rows[is_rated(rows)]
            found = pd.concat([found, rows], ignore_index=True) if len(found) else rows
            found = found.iloc[stateless.id_order(found["id"])[:count]]
    return found


def size(folder: Path) -> int:
    """How many rows the index of a pool has."""
    return int(pq.read_metadata(folder / INDEX).num_rows)


def part(folder: Path, start: int, count: int, columns: list[str]) -> pd.DataFrame:
    """Rows `start` to `start + count` of a pool's index; no other row group is read."""
    found: list[pa.Table] = []
    with pq.ParquetFile(folder / INDEX) as index:
        before = 0
        for number in range(index.num_row_groups):
            held = index.metadata.row_group(number).num_rows
            if before < start + count and before + held > start:
                group = index.read_row_group(number, columns)
                found.append(group.slice(max(0, start - before), start + count - max(before, start)))
            before += held
    return pa.concat_tables(found, promote_options="permissive").to_pandas()
