"""A pool on disk: images in few memory-mapped shards, one table with a row a pair, rejected ones too.

This module knows nothing of where pairs come from, so that later stages depend on the store alone.
It writes planted truth and labels but does not read them: `alchemist.pools.truth` does.
"""

from array import array
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.pools.row import SPLITS, Row, pixel_hash

INDEX = "index.parquet"
CARD = "card.json"
EXTRA = "extra.parquet"  # by id, beside the index, which it would bloat
TRUTH = "truth.parquet"
LABELS = "labels.parquet"
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("id", "caption", "split", "group", "status", "reason")]
    + [("shard", pa.int32()), ("row", pa.int32())]
)
_ROW_GROUP = 65_536  # rows of the index that wait in memory before they are written
_BATCH = 1024  # of them, those that wait as Python's objects, which take some ten times Arrow's memory


def write_pool(
    folder: Path,
    rows: Iterable[Row],
    resolution: int,
    shard_pairs: int,
    facts: dict[str, Any],
    truth_folder: Path | None = None,
) -> dict[str, Any]:
    """Streams rows into an empty folder; returns the card: `facts` and the counts of every outcome.

    Images are (resolution, resolution, 3), `shard_pairs` of them a file. What was planted and labels go to
    `truth_folder`, which raters and trainers do not get; None: beside the pool.
    Memory grows by 25 bytes a pair while writing and as much again in the closing checks, plus planted truth.
    Asserts that ids are unique and that splits share no group and no pixels.
    """
    counts: dict[str, Counter[str]] = {split: Counter() for split in SPLITS}
    truth: list[tuple[str, str]] = []
    # Hashes, since the names themselves would take ten times the memory: two of a million have the same
    # with a chance of 5e-8.
    ids = array("Q")
    groups, pixels, codes = array("Q"), array("Q"), array("B")  # of usable pairs
    side = truth_folder or folder
    with (
        _Shards(folder, resolution, shard_pairs) as shards,
        _Table(folder / INDEX, _SCHEMA) as index,
        _Table(folder / EXTRA) as extra,
        _Table(side / LABELS) as labels,
    ):
        for pair in rows:
            counts[pair.split][pair.reason or "ok"] += 1
            ids.append(stateless.key(pair.id))
            shard = row = -1
            if not pair.reason:
                assert pair.image is not None
                shard, row = shards.append(pair.image)
                groups.append(stateless.key(pair.group))
                pixels.append(int.from_bytes(pixel_hash(pair.image)[:8], "big"))
                codes.append(SPLITS.index(pair.split))
            if pair.kind is not None:
                truth.append((pair.id, pair.kind))
            fact = {name: getattr(pair, name) for name in ("id", "caption", "split", "group", "reason")}
            status = "rejected" if pair.reason else "ok"
            index.append({**fact, "status": status, "shard": shard, "row": row})  # -1 without an image
            if pair.extra:
                extra.append({"id": pair.id, **pair.extra})
            if pair.labels:
                labels.append({"id": pair.id, **pair.labels})
    _assert_unique(ids)
    _assert_disjoint(groups, codes, "a group lies")
    _assert_disjoint(pixels, codes, "the same pixels lie")

    card = {
        **facts,
        "resolution": resolution,
        "counts": {split: dict(sorted(counted.items())) for split, counted in counts.items()},
        "pairs": sum(counted.total() for counted in counts.values()),
        "ok": sum(counted["ok"] for counted in counts.values()),
    }
    files.write_json(folder / CARD, card)
    files.write_manifest(folder)
    pd.DataFrame(truth, columns=["id", "kind"], dtype="str").to_parquet(side / TRUTH, index=False)
    return card


def _assert_unique(hashes: "array[int]") -> None:
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64))
    assert (ordered[1:] != ordered[:-1]).all(), "an id comes twice"


def _assert_disjoint(hashes: "array[int]", codes: "array[int]", what: str) -> None:
    """No hash with two codes of splits."""
    ordered = np.frombuffer(hashes, dtype=np.uint64)
    order = np.argsort(ordered, kind="stable")
    ordered, splits = ordered[order], np.frombuffer(codes, dtype=np.uint8)[order]
    crossed = (ordered[1:] == ordered[:-1]) & (splits[1:] != splits[:-1])
    assert not crossed.any(), f"{what} in two splits"


class _Table:
    """Appends rows to a parquet file; a row group waits in memory, most of it as Arrow's arrays.

    Without a schema the first rows give it, and where there are none there is no file.
    """

    def __init__(self, path: Path, schema: pa.Schema | None = None) -> None:
        self.path, self.schema = path, schema
        self.writer: pq.ParquetWriter | None = None
        self.rows: list[dict[str, Any]] = []
        self.batches: list[pa.RecordBatch] = []

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._pack()
        self._write()
        if self.writer is not None:
            self.writer.close()

    def append(self, row: dict[str, Any]) -> None:
        """Adds a row."""
        self.rows.append(row)
        if len(self.rows) == _BATCH:
            self._pack()
        if len(self.batches) == _ROW_GROUP // _BATCH:
            self._write()

    def _pack(self) -> None:
        if self.rows:
            batch = pa.RecordBatch.from_pylist(self.rows, schema=self.schema)
            self.schema = batch.schema
            self.batches.append(batch)
            self.rows.clear()

    def _write(self) -> None:
        if self.schema is not None and (self.batches or self.writer is None):
            self.writer = self.writer or pq.ParquetWriter(self.path, self.schema)
            self.writer.write_table(pa.Table.from_batches(self.batches, self.schema))
            self.batches.clear()


class _Shards:
    """Appends images to images-00000.npy, images-00001.npy, … with at most one image in memory."""

    def __init__(self, folder: Path, resolution: int, shard_pairs: int) -> None:
        self.folder, self.shape, self.capacity = folder, (resolution, resolution, 3), shard_pairs
        self.file: BinaryIO | None = None
        self.shard, self.rows, self.start = -1, 0, 0

    def __enter__(self) -> "_Shards":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def append(self, image: NDArray[np.uint8]) -> tuple[int, int]:
        """Writes one image and returns its shard and row."""
        assert image.dtype == np.uint8
        assert image.shape == self.shape
        if self.file is None or self.rows == self.capacity:
            self._close()
            self.shard, self.rows = self.shard + 1, 0
            self.file = _shard(self.folder, self.shard).open("wb")
            self.start = self._header()
        self.file.write(np.ascontiguousarray(image).data)
        self.rows += 1
        return self.shard, self.rows - 1

    def _header(self) -> int:
        """Writes the header for the present number of rows; returns where the data begin."""
        assert self.file is not None
        descr = np.lib.format.dtype_to_descr(np.dtype(np.uint8))
        header = {"descr": descr, "fortran_order": False, "shape": (self.rows, *self.shape)}
        np.lib.format.write_array_header_1_0(self.file, header)
        return self.file.tell()

    def _close(self) -> None:
        """Puts the real number of rows into the header, for which NumPy's format leaves room."""
        if self.file is not None:
            with self.file:
                self.file.seek(0)
                assert self._header() == self.start
            self.file = None


def _shard(folder: Path, shard: int) -> Path:
    return folder / f"images-{shard:05d}.npy"


def read_index(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """One row a pair: id, caption, split, group, status, reason, shard, row; in order of writing.

    Of all columns, or of those asked for: captions take most of the memory.
    Raises Refusal where the folder holds no pool.
    """
    if not (folder / INDEX).is_file():
        raise Refusal(f"{folder / INDEX} is missing; run the stage prepare.")
    return pd.read_parquet(folder / INDEX, columns=columns)


def read_extra(folder: Path) -> pd.DataFrame:
    """What else a source says of pairs: id and the columns that its adapter names; no rows for most pools."""
    path = folder / EXTRA
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame({"id": pd.Series(dtype="str")})


def usable(index: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split that have an image, in their order, of an index as `read_index` gives it."""
    return index[(index["split"] == split) & (index["status"] == "ok")]


def images(folder: Path, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """Images (n, resolution, resolution, 3) of n rows of the index, in their order; repeats allowed.

    Reads the asked rows alone, through memory maps. Raises ValueError for a rejected row.
    """
    shards, places = rows["shard"].to_numpy(), rows["row"].to_numpy()
    if (shards < 0).any():
        raise ValueError(f"{rows['id'][shards < 0].iloc[0]!r} was rejected and has no image")
    first = np.load(_shard(folder, 0), mmap_mode="r")
    out = np.empty((len(rows), *first.shape[1:]), dtype=np.uint8)
    for shard in np.unique(shards):
        here = np.flatnonzero(shards == shard)
        out[here] = np.load(_shard(folder, int(shard)), mmap_mode="r")[places[here]]
    return out
