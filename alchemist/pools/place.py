"""Where the encoded bytes of an image lie in a person's files, and how they are read from there.

A pool of tens of millions is not copied: its index says of every image in which file it lies and where.
"""

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 64  # of a parquet file that are in memory at once, in a whole pass
AHEAD = 4  # images a thread that are read before they are asked for


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file: a file of its own, a member of a tar, a member of a zip that is not compressed."""

    file: Path
    offset: int = 0  # of the first byte
    size: int | None = None  # bytes; None: to the end of the file


@dataclass(frozen=True, slots=True)
class Cell:
    """A value of a parquet file: encoded bytes, or a struct with a field bytes."""

    file: Path
    column: str
    row: int  # of the file, counted from 0 through all its row groups


Place = Span | Cell


class Unreadable(Exception):
    """A place whose file is gone, broken, or too short."""


def fetch(place: Place) -> bytes | None:
    """The encoded bytes at a place; None where a cell is null. Raises Unreadable.

    Cells are read forward: rows of one file in ascending order cost one pass over it, and a step back
    decodes the row group again from its beginning.
    """
    try:
        return _span(place) if isinstance(place, Span) else _cell(place)
    except FileNotFoundError:
        raise Unreadable(f"{place.file} is missing") from None
    except (OSError, pa.ArrowException) as error:
        told = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise Unreadable(f"{place.file} cannot be read ({told})") from None


def _span(place: Span) -> bytes:
    with place.file.open("rb", buffering=0 if place.size is None else -1) as file:
        file.seek(place.offset)
        content = file.read() if place.size is None else file.read(place.size)
    if place.size is not None and len(content) < place.size:
        raise Unreadable(f"{place.file} ends before byte {place.offset + place.size}")
    return content


def _cell(place: Cell) -> bytes | None:
    about = place.file.stat()
    column = _column(place.file, place.column, about.st_size, about.st_mtime_ns)
    return column.read(place.row)


@functools.lru_cache(maxsize=4)
def _column(file: Path, name: str, size: int, changed: int) -> "_Column":
    """An open column; size and time of change are there so that a file written anew is opened anew."""
    return _Column(file, name)


class _Column:
    """One column of a parquet file, read forward from the beginning of a row group."""

    def __init__(self, path: Path, name: str) -> None:
        # Not buffered before: a row group of images may be larger than memory.
        self.file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        self.path, self.name = path, name
        about = self.file.metadata
        sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self.starts = np.cumsum([0, *sizes])
        self.lock = threading.Lock()
        self._leave()

    def read(self, row: int) -> bytes | None:
        """The value of a row of the file."""
        with self.lock:
            try:
                return self._read(row)
            except BaseException:
                self._leave()
                raise

    def _leave(self) -> None:
        """No batch is open."""
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.values: Any = ()
        self.first, self.group = 0, -1

    def _read(self, row: int) -> bytes | None:
        if not 0 <= row < self.starts[-1]:
            raise Unreadable(f"{self.path} has {self.starts[-1]} rows and none of number {row}")
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        if group != self.group or row < self.first:
            self.batches = self.file.iter_batches(ROWS, row_groups=[group], columns=[self.name])
            self.values, self.first, self.group = (), int(self.starts[group]), group
        while row >= self.first + len(self.values):
            self.first += len(self.values)
            self.values = next(self.batches)[self.name]
        return image_bytes(self.values[row - self.first])


def image_bytes(cell: pa.Scalar) -> bytes | None:
    """The encoded bytes that a cell holds, itself or in its field bytes; None where there are none."""
    if isinstance(cell, pa.StructScalar):
        cell = cell["bytes"] if cell.is_valid else pa.scalar(None)
    value: bytes | None = cell.as_py()
    return value


T = TypeVar("T")
X = TypeVar("X")


def read_each(
    items: Iterable[tuple[X, Place | bytes | None]], work: Callable[[X, bytes | Unreadable | None], T]
) -> Iterator[T]:
    """`work` of every item and of what lies at its place, in order; on threads, a few items ahead.

    Where a place cannot be read, `work` gets the error in place of the bytes.
    """
    threads = min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[T]] = deque()
        for item, place in items:
            # Cells on this thread, since they are read in order; spans where they are decoded.
            source = _content(place) if isinstance(place, Cell) else place
            waiting.append(executor.submit(lambda item, source: work(item, _content(source)), item, source))
            if len(waiting) == AHEAD * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _content(source: Place | bytes | Unreadable | None) -> bytes | Unreadable | None:
    if not isinstance(source, Span | Cell):
        return source
    try:
        return fetch(source)
    except Unreadable as error:
        return error
