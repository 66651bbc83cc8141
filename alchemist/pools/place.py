"""Where the encoded bytes of an image lie in a person's files, and how they are read from there.

A pool of tens of millions is not copied: its index says of every image in which file it lies and where.
"""

import functools
import os
import sys
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

from alchemist.core.settings.pool import LARGEST
from alchemist.pools import memory, pages

ROWS = 64  # of a parquet file that are in memory at once, in a whole pass
# What Arrow raises of broken files, by itself or for an exception of C++.
BROKEN = (pa.ArrowException, OSError, ValueError, ArithmeticError, RuntimeError, LookupError, MemoryError)
PART = 16  # images of one task of a thread
_LARGE = 16_000_000  # bytes of a value that is not held once it was given


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


class TooLarge(Unreadable):
    """A place that holds more bytes than were to be read."""


class HeavyPages(Unreadable):
    """A row group that cannot be read in the memory that there is for it."""


def fetch(place: Place, largest: int | None = None) -> bytes | None:
    """The encoded bytes at a place; None where a cell is null. Raises Unreadable.

    Where `largest` is given, what takes more than so many MB is told without being read, by `TooLarge` and
    `HeavyPages`: an image's bytes may take half of it. Cells are read forward: rows of one file in ascending
    order cost one pass over it, and a step back decodes the row group again from its beginning.
    """
    most = 1_000_000 * largest if largest else sys.maxsize
    try:
        return _span(place, most) if isinstance(place, Span) else _cell(place, most)
    except FileNotFoundError:
        raise Unreadable(f"{place.file} is missing") from None
    except BROKEN as error:
        told = getattr(error, "strerror", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise Unreadable(f"{place.file} cannot be read ({told})") from None


def _span(place: Span, most: int) -> bytes:
    with place.file.open("rb", buffering=0) as file:
        # Of the file, since what says how long a part is may claim anything.
        there = os.fstat(file.fileno()).st_size - place.offset
        size = there if place.size is None else place.size
        if size > there:
            raise Unreadable(f"{place.file} ends before byte {place.offset + size}")
        if 2 * size > most:
            raise TooLarge(f"{place.file} holds an image of {size:,} bytes")
        file.seek(place.offset)
        content = file.read(size) or b""
        while len(content) < size and (more := file.read(size - len(content))):
            content += more  # of more than 2 GB a system reads a part
    if len(content) < size:
        raise Unreadable(f"{place.file} ends before byte {place.offset + size}")
    return content


def _cell(place: Cell, most: int) -> bytes | None:
    about = place.file.stat()
    open_column = _column if most == sys.maxsize else _bounded_column
    return open_column(place.file, place.column, about.st_size, about.st_mtime_ns, most).read(place.row)


@functools.lru_cache(maxsize=4)
def _column(file: Path, name: str, size: int, changed: int, most: int) -> "_Column":
    """An open column; size and time of change are there so that a file written anew is opened anew."""
    return _Column(file, name, most)


# A single one where memory is bounded: each holds a page of its file.
_bounded_column = functools.lru_cache(maxsize=1)(_column.__wrapped__)


class _Column:
    """One column of a parquet file, read forward from the beginning of a row group."""

    def __init__(self, path: Path, name: str, most: int) -> None:
        # Not buffered before: a row group of images may be larger than memory.
        self.file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        self.path, self.name, self.most = path, name, most
        if name not in self.file.schema_arrow.names:
            raise Unreadable(f"{path} has no column {name}")
        self.footer = pages.footer(path)
        self.starts = np.cumsum([0, *(rows for rows, _ in self.footer.groups)])
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
                self._open(group)
            if self.heavy:
                raise HeavyPages(f"{self.path} has pages too large to be read at row {row}")
            # The page before and the next are there at once, the next twice: no image is decoded meanwhile.
            bound = min(self.most, 1_000_000 * LARGEST)
            is_turn = self.layout.turns(row - int(self.starts[group]), bound)
            with memory.held(bound if is_turn else 0, bound):
                while row >= self.first + len(self.values):
                    # Else each row behind the fault would decode the group again up to it.
                    if self.first + len(self.values) == self.broken:
                        raise Unreadable(f"{self.path} cannot be read from row {self.broken} on")
                    self._step()
            return self._value(row)

    def _open(self, group: int) -> None:
        self.batches, self.values, self.group = iter(()), (), -1  # what was open is freed first
        bound = min(self.most, 1_000_000 * LARGEST)
        found = pages.layout(self.footer, group, [self.name])
        self.rows, self.layout = found.at_once(ROWS, bound, bound // 5), found
        self.heavy = not self.rows and self.most < sys.maxsize
        self.batches = self.file.iter_batches(self.rows or 1, row_groups=[group], columns=[self.name])
        self.first, self.group, self.broken = int(self.starts[group]), group, -1

    def _value(self, row: int) -> bytes | None:
        """Of the batch that is there; a large one is there once, for whom it is given to."""
        cell = self.values[row - self.first]
        size = image_size(cell)
        if 2 * size > self.most:
            raise TooLarge(f"{self.path} holds an image of {size:,} bytes at row {row}")
        is_large = size > _LARGE and len(self.values) == 1
        bound = min(self.most, 1_000_000 * LARGEST)
        with memory.held(bound if is_large else 0, bound):
            value = image_bytes(cell)
            if row == self.starts[-1] - 1:  # the pass is over: the next file has the memory of its pages
                self.batches, self.values, self.group = iter(()), (), -1
            elif is_large:
                self.values, self.first = (), self.first + 1
            return value

    def _step(self) -> None:
        """The next batch of the row group."""
        try:
            batch = next(self.batches)
        except (*BROKEN, StopIteration):
            self.broken = self.first + len(self.values)
            return
        self.first += len(self.values)
        self.values = batch[self.name]


def image_size(cell: pa.Scalar) -> int:
    """How many encoded bytes a cell holds, without a copy of them."""
    inner = _inner(cell)
    return int(inner.as_buffer().size) if isinstance(inner, pa.BinaryScalar) and inner.is_valid else 0


def image_bytes(cell: pa.Scalar) -> bytes | None:
    """The encoded bytes that a cell holds, itself or in its field bytes; None where there are none."""
    inner = _inner(cell)
    value = (
        inner.as_py()
        if isinstance(inner, pa.BinaryScalar) and not isinstance(inner, pa.StringScalar)
        else None
    )
    return value if isinstance(value, bytes) else None


def _inner(cell: pa.Scalar) -> pa.Scalar | None:
    """A cell or its field bytes; what else a struct holds may be no Unicode, or large."""
    if not isinstance(cell, pa.StructScalar):
        return cell
    return cell["bytes"] if cell.is_valid and cell.type.get_field_index("bytes") >= 0 else None


T = TypeVar("T")
X = TypeVar("X")
_Read = tuple[X, Place | bytes | Unreadable | None, int]  # an item, what is known of its image, their bytes


def read_each(
    items: Iterable[tuple[X, Place | bytes | None]],
    work: Callable[[X, bytes | Unreadable | None], T],
    largest: int | None = None,
    weight: Callable[[X], int] = lambda item: 0,
) -> Iterator[T]:
    """`work` of every item and of what lies at its place, in order; on threads, some items ahead.

    Where a place cannot be read, `work` gets the error in place of the bytes. `largest` is that of `fetch`.
    Fewer items are ahead where what is held of them, and their `weight` in bytes, is large.
    """
    threads = min(8, os.cpu_count() or 1)

    def read(item: tuple[X, Place | bytes | None]) -> _Read[X]:
        # Cells on this thread, since they are read in order; spans where they are decoded.
        source = _content(item[1], largest) if isinstance(item[1], Cell) else item[1]
        return item[0], source, weight(item[0]) + (len(source) if isinstance(source, bytes) else 0)

    def run(part: Sequence[_Read[X]]) -> list[T]:
        return [_worked(work, item, source, largest) for item, source, _ in part]

    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[tuple[int, Future[list[T]]]] = deque()
        ahead = 0
        for part in memory.parts(map(read, items), PART, lambda one: one[2], memory.AHEAD // 4):
            weighs = sum(one[2] for one in part)
            waiting.append((weighs, executor.submit(run, part)))
            del part  # which else would be held while the next is read
            ahead += weighs
            while len(waiting) == 2 * threads or (waiting and ahead >= memory.AHEAD):
                weighs, done = waiting.popleft()
                yield from done.result()
                ahead -= weighs
        while waiting:
            yield from waiting.popleft()[1].result()


def _worked(
    work: Callable[[X, bytes | Unreadable | None], T],
    item: X,
    source: Place | bytes | Unreadable | None,
    largest: int | None,
) -> T:
    most = 1_000_000 * (largest or LARGEST)
    is_large = isinstance(source, Span) and _size(source) > memory.SMALL
    with memory.held(most if is_large else 0, most):
        return work(item, _content(source, largest))


def _size(place: Span) -> int:
    """Bytes that reading it takes; 0 where it cannot be read."""
    try:
        return place.file.stat().st_size - place.offset if place.size is None else place.size
    except OSError:
        return 0


def _content(source: Place | bytes | Unreadable | None, largest: int | None) -> bytes | Unreadable | None:
    if not isinstance(source, Span | Cell):
        return source
    try:
        return fetch(source, largest)
    except Unreadable as error:
        return error
