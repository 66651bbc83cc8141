"""How large the pages of a parquet file are, by their own headers, before one is read.

A file of 2 MB may hold 64 rows of one value of 40 MB, or a page that compresses a thousandfold, and what the
file's own footer says of its sizes need not be so. A header is a struct in Thrift's compact protocol:
https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

HEADERS = (1 << 13, 1 << 24)  # bytes in which most headers end, and in which Arrow wants all to end
_PREFIXED = 7  # DELTA_BYTE_ARRAY: a value repeats the beginning of the one before
_DICTIONARY = 2  # of the kinds of pages
_DEEP = 8
_LARGE = 4_000_000  # bytes of a value
_PAGES = 100_000  # of a chunk
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # bytes of Thrift's true, false, byte and double


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


def layout(group: pq.RowGroupMetaData, path: Path, names: Sequence[str]) -> Layout:
    """The pages of the columns `names`, or of what lies in them, of a row group."""
    chunks = [group.column(number) for number in range(group.num_columns)]
    with path.open("rb") as file:
        return Layout(
            tuple(
                _column(chunk, file, group.num_rows)
                for chunk in chunks
                if any(f"{chunk.path_in_schema}.".startswith(f"{name}.") for name in names)
            )
        )


def _column(chunk: pq.ColumnChunkMetaData, file: Any, rows: int) -> _Column:
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
        page = max(page, before * (16 + max(dictionary, widest)), chunk.total_uncompressed_size)
    return _Column(page, fewest, dictionary, widest, frozenset(firsts))


def _pages(chunk: pq.ColumnChunkMetaData, file: Any) -> Iterator[tuple[int, int, int, int]]:
    """Kind, size when not compressed, number of values and encoding of every page of a chunk.

    Where a header cannot be read, the rest of the chunk counts as a page, of the size that the footer states.
    """
    starts = [chunk.dictionary_page_offset, chunk.data_page_offset]
    place = min((start for start in starts if start), default=0)
    end, count = place + chunk.total_compressed_size, 0
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
            yield 0, chunk.total_uncompressed_size, chunk.num_values, 0
            return
        yield found
        place += step


def _header(file: Any, place: int) -> tuple[dict[int, Any], int]:
    """The header at a place of a file, and how many bytes it has."""
    for most in HEADERS:
        file.seek(place)
        with contextlib.suppress(IndexError):
            return _struct(file.read(most), 0, 0)
    raise ValueError("a header without an end")


# ---------------------------------------------------------------------- Thrift's compact protocol


def _struct(data: bytes, place: int, depth: int) -> tuple[dict[int, Any], int]:
    """The fields of a struct by their numbers, whole numbers and structs alone, and where it ends.

    Raises IndexError where it does not end in `data`, and ValueError for what is no struct.
    """
    if depth == _DEEP:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[place]:
        number += kind >> 4
        place += 1
        if not kind >> 4:
            number, place = _whole(data, place)
        fields[number], place = _value(data, place, kind & 15, depth)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a type: whole numbers and structs alone are of use here, all else is None."""
    if kind in (4, 5, 6):
        return _whole(data, place)
    if kind in (9, 10):
        return _list(data, place, depth)
    if kind == 12:
        return _struct(data, place, depth + 1)
    if kind == 8:
        length, place = _number(data, place)
        return None, place + length
    return None, place + _WIDTHS[kind]


def _list(data: bytes, place: int, depth: int) -> tuple[None, int]:
    first, place = data[place], place + 1
    count, kind = first >> 4, first & 15
    if count == 15:
        count, place = _number(data, place)
    for _ in range(min(count, len(data))):
        # Truth values take a byte each in a list.
        _, place = (None, place + 1) if kind in (1, 2) else _value(data, place, kind, depth + 1)
    return None, place


def _number(data: bytes, place: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte, place = data[place], place + 1
        found |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return found, place


def _whole(data: bytes, place: int) -> tuple[int, int]:
    """A whole number with its sign, by zigzag."""
    found, place = _number(data, place)
    return found >> 1 ^ -(found & 1), place
