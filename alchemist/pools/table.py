"""Parquet files that are written row by row in bounded memory."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 65_536  # rows that wait in memory before they are written
BATCH = 1024  # of them, those that wait as Python's objects, which take some ten times Arrow's memory
# Bytes of rows that wait, where captions are long: usual rows of a group take less.
WAITING = 64_000_000
OBJECTS = 8_000_000  # characters of text that wait as Python's objects


class Table:
    """Appends rows to a parquet file; a row group waits in memory, most of it as Arrow's arrays.

    Without a schema the first rows give it, and where there are none there is no file.
    """

    def __init__(self, path: Path, schema: pa.Schema | None = None) -> None:
        self.path, self.schema = path, schema
        self.writer: pq.ParquetWriter | None = None
        self.rows: list[dict[str, Any]] = []
        self.characters = 0  # of them
        self.batches: list[pa.RecordBatch] = []

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._pack()
        self._write()
        if self.writer is not None:
            self.writer.close()

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row."""
        self.rows.append(row)
        self.characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(self.rows) == BATCH or self.characters > OBJECTS:
            self._pack()
            rows = sum(batch.num_rows for batch in self.batches)
            if rows >= ROW_GROUP or sum(batch.nbytes for batch in self.batches) > WAITING:
                self._write()

    def _pack(self) -> None:
        if self.rows:
            batch = pa.RecordBatch.from_pylist(self.rows, schema=self.schema)
            self.schema = batch.schema
            self.batches.append(batch)
            self.rows.clear()
            self.characters = 0

    def _write(self) -> None:
        if self.schema is not None and (self.batches or self.writer is None):
            self.writer = self.writer or pq.ParquetWriter(self.path, self.schema)
            table = pa.Table.from_batches(self.batches, self.schema)
            self.writer.write_table(table.unify_dictionaries())
            self.batches.clear()


class Tables:
    """Appends rows whose columns differ by source: a file each, `path` or with "-1", … behind its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tables: dict[str, Table] = {}

    def __enter__(self) -> "Tables":
        return self

    def __exit__(self, *problem: object) -> None:
        for table in self.tables.values():
            table.__exit__(*problem)

    def append(self, source: str, row: dict[str, Any]) -> None:
        """Adds a row of a source."""
        if source not in self.tables:
            number = f"-{len(self.tables)}" if self.tables else ""
            self.tables[source] = Table(self.path.with_stem(f"{self.path.stem}{number}"))
        self.tables[source].append(row)


def read_tables(path: Path) -> pd.DataFrame:
    """What `Tables` wrote, a missing value where a source lacks a column; no rows where there is no file."""
    paths = sorted(path.parent.glob(f"{path.stem}*{path.suffix}"))
    found = [pd.read_parquet(one) for one in paths]
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame({"id": pd.Series(dtype="str")})
