"""How large the pages of a parquet file are, by their own headers, before one is read.

A file of 2 MB may hold 64 rows of one value of 40 MB, or a page that compresses a thousandfold, and what the
file's own footer says of its sizes need not be so. A header is a struct in Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import contextlib
import functools
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemist.pools import thrift

HEADERS = (1 << 13, 1 << 24)  # bytes in which most headers end, and in which Arrow wants all to end
_PREFIXED = 7  # DELTA_BYTE_ARRAY: a value repeats the beginning of the one before
_DICTIONARY = 2  # of the kinds of pages
_LARGE = 4_000_000  # bytes of a value
_PAGES = 100_000  # of a chunk
_ROWS = 1 << 48  # of a file
FOOTER = 1 << 23  # bytes, of some 40,000 pieces of columns; in memory ten times as much, and for Arrow again
# What is read of a page's header, and of a footer: of groups the rows, and of each chunk its path, values,
# sizes and places.
_HEADER = {1: None, 2: None, 3: None, 5: {1: None, 2: None}, 7: {1: None, 2: None}, 8: {1: None, 4: None}}


@dataclass(frozen=True)
class Layout:
    """What is known of the pages of some columns of a row group."""

    columns: tuple["_Column", ...]

    def at_once(self, rows: int, most: int, together: int) -> int:
        """How many rows, at most `rows`, may be read at once; 0 where the pages take too much of `most`.

        A page may take three fifths of it. The dictionary is held beside it and twice, and both may take a
        tenth more than all of it. The rows take at most `together` bytes, or it is one row.
        """
        page = sum(column.page for column in self.columns)
        held = page + 2 * sum(column.dictionary for column in self.columns)
        if 5 * page > 3 * most or 10 * held > 11 * most:
            return 0
        while rows > 1 and sum(column.dense(rows) for column in self.columns) > together:
            rows //= 4
        return max(rows, 1)

    def turns(self, row: int, most: int) -> bool:
        """Whether a large page begins at a row of the group, or values are large."""
        return any(
            (row in column.firsts and 10 * max(column.page, column.dictionary) > most)
            or (column.page + column.dictionary > _LARGE * column.fewest)
            for column in self.columns
        )


@dataclass(frozen=True)
class _Column:
    """A leaf column of a row group."""

    page: int  # bytes of its largest page, not compressed
    fewest: int  # values of a page that another follows
    dictionary: int  # bytes
    widest: int  # bytes that each value may have, by pages whose values repeat others; 0 where none do
    firsts: frozenset[int]  # values before each page

    def dense(self, rows: int) -> int:
        """Bytes that so many neighbouring rows take at most."""
        pages = 2 if self.fewest >= rows else rows + 1
        return rows * (16 + max(self.dictionary, self.widest)) + min(pages, rows) * self.page


def layout(footer: "Footer", group: int, names: Sequence[str]) -> Layout:
    """The pages of the columns `names`, or of what lies in them, of a row group.

    Raises ValueError where the footer has no such column.
    """
    rows, chunks = footer.groups[group]
    found = [chunk for chunk in chunks if any(f"{chunk.name}.".startswith(f"{name}.") for name in names)]
    if not found:
        raise ValueError("columns without pages")
    with footer.path.open("rb") as file:
        return Layout(tuple(_column(chunk, file, rows) for chunk in found))


@dataclass(frozen=True)
class Footer:
    """What the end of a file says: of each row group its rows and the chunks of its columns."""

    path: Path
    groups: list[tuple[int, list["_Chunk"]]]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The pages of a column in a row group, by the footer."""

    name: str  # with those of the structs that it lies in, parted by dots
    start: int  # of its first page in the file
    compressed: int  # bytes
    size: int  # bytes, not compressed
    values: int


def footer(path: Path) -> Footer:
    """What the end of a file says. Arrow's own objects of it end the process where some numbers do not fit.

    Raises OSError and ValueError.
    """
    about = path.stat()
    return _footer(path, about.st_size, about.st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _footer(path: Path, length: int, changed: int) -> Footer:
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        size = int.from_bytes(file.read(4), "little")
        if size > FOOTER:
            raise ValueError("the footer is too large")
        file.seek(-8 - size, os.SEEK_END)
        content = file.read(size)
    try:
        groups = thrift.struct(content, 0, _FILE)[0][4]
        if any(rows < 0 for rows, _ in groups) or sum(rows for rows, _ in groups) > _ROWS:
            raise ValueError("numbers of rows that cannot be")
        return Footer(path, groups)
    except (IndexError, KeyError, TypeError) as error:
        raise ValueError(f"the footer is broken ({error})") from None


def _chunk(fields: dict[int, Any]) -> _Chunk:
    about = fields[3]
    starts = [start for start in (about.get(11), about[9]) if start]
    name = sys.intern(b".".join(about[3]).decode("utf-8", "replace"))
    return _Chunk(name, min(starts, default=0), about[7], about[6], about[5])


def _column(chunk: _Chunk, file: Any, rows: int) -> _Column:
    page, fewest, dictionary, widest, before = 0, rows, 0, 0, 0
    firsts: list[int] = []
    for kind, size, values, encoding in _pages(chunk, file):
        if kind == _DICTIONARY:
            dictionary = max(dictionary, size)
            continue
        if firsts:
            fewest = min(fewest, before - firsts[-1])
        firsts.append(before)
        before += values
        page = max(page, size)
        widest = max(widest, size if encoding == _PREFIXED else 0)
    # A list in each row: all values may be of one row.
    if before > rows:
        page = max(page, before * (16 + max(dictionary, widest)), chunk.size)
    return _Column(page, fewest, dictionary, widest, frozenset(firsts))


def _pages(chunk: _Chunk, file: Any) -> Iterator[tuple[int, int, int, int]]:
    """Kind, size when not compressed, number of values and encoding of every page of a chunk.

    Where a header cannot be read, the rest of the chunk counts as a page, of the size that the footer states.
    """
    place, count = chunk.start, 0
    end = place + chunk.compressed
    while place < end:
        try:
            count += 1
            if count > _PAGES:
                raise ValueError("too many pages")
            header, size = _header(file, place)
            about = header.get(5) or header.get(8) or header.get(7) or {}
            found = header[1], header[2], about.get(1, 0), about.get(2 if 5 in header else 4, 0)
            step = size + header[3]
            if min(found) < 0 or header[3] < 0:
                raise ValueError("a negative size")
        except (IndexError, KeyError, ValueError, TypeError, AttributeError, OverflowError, OSError):
            yield 0, chunk.size, chunk.values, 0
            return
        yield found
        place += step


def _header(file: Any, place: int) -> tuple[dict[int, Any], int]:
    """The header at a place of a file, and how many bytes it has."""
    for most in HEADERS:
        file.seek(place)
        with contextlib.suppress(IndexError):
            return thrift.struct(file.read(most), 0, _HEADER)
    raise ValueError("a header without an end")


_COLUMN = {3: {3: thrift.Each(None), 5: None, 6: None, 7: None, 9: None, 11: None}}
_FILE = {4: thrift.Each({1: thrift.Each(_COLUMN, _chunk), 3: None}, lambda group: (group[3], group[1]))}
