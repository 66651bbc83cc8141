"""Where the encoded bytes of an image lie in a person's files, and how they are read from there.

A pool of tens of millions is not copied: its index says of every image in which file it lies and where.
"""

import functools
import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 64  # of a parquet file that are in memory at once, in a whole pass
PART = 16  # images of one task of a thread


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
        if name not in self.file.schema_arrow.names:
            raise Unreadable(f"{path} has no column {name}")
        about = self.file.metadata
        sizes = [about.row_group(group).num_rows for group in range(about.num_row_groups)]
        self.starts = np.cumsum([0, *sizes])
        self.lock = threading.Lock()
        self.batches: Iterator[pa.RecordBatch] = iter(())
        self.values: Any = ()  # of the rows from `first` on
        self.first, self.group = 0, -1
        self.broken = -1  # the row from which on the group cannot be read

    def read(self, row: int) -> bytes | None:
        """The value of a row of the file."""
        if not 0 <= row < self.starts[-1]:
            raise Unreadable(f"{self.path} has {self.starts[-1]} rows and none of number {row}")
        group = int(np.searchsorted(self.starts, row, side="right")) - 1
        with self.lock:
            if group != self.group or row < self.first:
                self.batches = self.file.iter_batches(ROWS, row_groups=[group], columns=[self.name])
                self.values, self.first, self.group = (), int(self.starts[group]), group
                self.broken = -1
            while row >= self.first + len(self.values):
                # Else each row behind the fault would decode the group again up to it.
                if self.first + len(self.values) == self.broken:
                    raise Unreadable(f"{self.path} cannot be read from row {self.broken} on")
                self._step()
            value = image_bytes(self.values[row - self.first])
            if row == self.starts[-1] - 1:  # the pass is over: the next file has the memory of its pages
                self.batches, self.values, self.group = iter(()), (), -1
            return value

    def _step(self) -> None:
        """The next batch of the row group."""
        try:
            batch = next(self.batches)
        except (pa.ArrowException, OSError, StopIteration):
            self.broken = self.first + len(self.values)
            return
        self.first += len(self.values)
        self.values = batch[self.name]


def image_bytes(cell: pa.Scalar) -> bytes | None:
    """The encoded bytes that a cell holds, itself or in its field bytes; None where there are none."""
    value = cell.as_py()
    if isinstance(value, dict):
        value = value.get("bytes")
    return value if isinstance(value, bytes) else None


T = TypeVar("T")
X = TypeVar("X")


def read_each(
    items: Iterable[tuple[X, Place | bytes | None]], work: Callable[[X, bytes | Unreadable | None], T]
) -> Iterator[T]:
    """`work` of every item and of what lies at its place, in order; on threads, some items ahead.

    Where a place cannot be read, `work` gets the error in place of the bytes.
    """
    threads = min(8, os.cpu_count() or 1)

    def run(part: Sequence[tuple[X, Place | bytes | Unreadable | None]]) -> list[T]:
        return [work(item, _content(source)) for item, source in part]

    items = iter(items)
    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[list[T]]] = deque()
        while part := list(itertools.islice(items, PART)):
            # Cells on this thread, since they are read in order; spans where they are decoded.
            sources = [(item, _content(at) if isinstance(at, Cell) else at) for item, at in part]
            waiting.append(executor.submit(run, sources))
            if len(waiting) == 2 * threads:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _content(source: Place | bytes | Unreadable | None) -> bytes | Unreadable | None:
    if not isinstance(source, Span | Cell):
        return source
    try:
        return fetch(source)
    except Unreadable as error:
        return error
