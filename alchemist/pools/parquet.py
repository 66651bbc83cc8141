"""Format parquet: tables with a column of encoded images, one of captions and perhaps one of ids."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationInfo, field_validator

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings
from alchemist.core.settings.pool import KeepingPool, UserPool
from alchemist.pools import pages
from alchemist.pools.base import (
    HEAVY_ROWS,
    MISSING_CAPTION,
    TEXT_BYTES,
    UNREADABLE_FILE,
    Found,
    check_column,
    extras,
    files_of,
    id_text,
)
from alchemist.pools.place import BROKEN, Cell, HeavyPages
from alchemist.pools.row import ORIGIN

BATCH = 1024  # rows whose captions are in memory at once
TOGETHER = 8_000_000  # bytes of their values
_LIKELY = 64  # rows that a byte of a broken file may stand for


class ColumnsSettings(Settings):
    """Names of a parquet file's columns."""

    image: str = Field(
        default="image",
        min_length=1,
        description="column of encoded image bytes, or of structs with a field bytes",
    )
    caption: str = Field(default="caption", min_length=1, description="column of text")
    id: str | None = Field(
        default=None, min_length=1, description="column of ids; null: file name and row number"
    )

    @field_validator("caption", "id")
    @classmethod
    def _is_no_image(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and name == info.data.get("image"):
            raise ValueError("the column of images is another one")
        return name


class ParquetPool(KeepingPool):
    """Tables with a column of encoded images."""

    format: Literal["parquet"] = Field(description="tables with a column of encoded images")
    path: str = Field(min_length=1, description="a folder of parquet files, or one file")
    columns: ColumnsSettings = Field(default=ColumnsSettings(), description="names of the columns")


BLOCK = ParquetPool
HINTS = {MISSING_CAPTION: "the column that columns.caption names should hold text"}


def read(pool: ParquetPool) -> Iterator[Found]:
    """A pair for every row of every file, in the order of the files' names.

    An id is the value of the column of ids, or where there is none the file's name and the row's
    number. Raises Refusal where the path does not exist or holds no parquet file, a file lacks a column
    or its column of images holds something else, or one that is kept neither numbers nor text.
    """
    columns, texts = pool.columns, _texts(pool)

    def pair(row: dict[str, Any], place: str) -> Found:
        caption = row[columns.caption]
        own = id_text(row[columns.id]) if columns.id else ""
        caption = caption if isinstance(caption, str) else None
        return Found(own or place, caption, None, extra=extras(pool.keep, row, texts))

    return pairs(pool, _named(pool), columns.image, pair)


def expected(pool: ParquetPool) -> int | None:
    """The rows of all files that can be opened. Raises Refusal as `read` does."""
    _texts(pool)
    return row_count(pool, _named(pool), pool.columns.image)


def _texts(pool: ParquetPool) -> set[str]:
    """The columns of `keep` that hold text. Raises Refusal as `add_kinds` does."""
    kinds: dict[str, bool] = {}
    for _, path, file in _files(pool, _named(pool), pool.columns.image) if pool.keep else ():
        if file is not None:
            add_kinds(kinds, pool.keep, path, file.schema_arrow)
    return {name for name, is_text in kinds.items() if is_text}


def _named(pool: ParquetPool) -> "Named":
    named = [(f"columns.{key}", name) for key, name in pool.columns if name is not None]
    return [*named, *(("keep", name) for name in pool.keep)]


# ---------------------------------------------------------------------- for every format of parquet files

Named = list[tuple[str, str]]  # columns to read: what the settings call each, and its name


def pairs(
    pool: UserPool, named: Named, image: str, pair: Callable[[dict[str, Any], str], Found]
) -> Iterator[Found]:
    """`pair` of every row (its values by column, without the image) and its name, with the image's place.

    Raises Refusal where a file lacks a column of `named` or `image` holds no images.
    """
    for _ in _files(pool, named, image):
        pass  # a wrong column in the last file is told before the first is decoded
    others = [column for _, column in named if column != image]
    for name, path, file in _files(pool, named, image):
        if file is None:
            yield Found(name, None, None, UNREADABLE_FILE)
            continue
        first, footer = 0, pages.footer(path)
        for group, (rows, _) in enumerate(footer.groups):
            yield from _group(pool, name, file, footer, group, first, others, image, pair)
            first += rows


def _group(
    pool: UserPool, name: str, file: pq.ParquetFile, footer: pages.Footer, group: int, first: int,
    others: list[str], image: str, pair: Callable[[dict[str, Any], str], Found],
) -> Iterator[Found]:  # fmt: skip
    """The pairs of a row group: one that is broken or too large spoils no other."""
    number, fault = first, UNREADABLE_FILE
    try:
        for row in values(file, footer, group, others, pool.largest):
            yield replace(pair(row, f"{name}:{number}"), image=Cell(footer.path, image, number))
            number += 1
    except HeavyPages:
        fault = HEAVY_ROWS
    except BROKEN:
        pass
    # The footer still tells how many rows the broken part has, unless it tells more than there can be.
    rows = footer.groups[group][0]
    if rows > _LIKELY * footer.path.stat().st_size:
        yield Found(f"{name}:{number}", None, None, fault)
        return
    for lost in range(number, first + rows):
        yield Found(f"{name}:{lost}", None, None, fault)


def row_count(pool: UserPool, named: Named, image: str) -> int:
    """The rows of all files that can be opened. Raises Refusal as `pairs` does."""
    return sum(int(file.metadata.num_rows) for _, _, file in _files(pool, named, image) if file is not None)


def _files(pool: UserPool, named: Named, image: str) -> Iterator[tuple[str, Path, pq.ParquetFile | None]]:
    """Every file, opened, or None where it cannot be; refuses a file that lacks a column."""
    for name, path in files_of(pool, ".parquet"):
        file = opened(path)
        if file is None:
            yield name, path, None
            continue
        with file:
            check_columns(path, file, named)
            found = file.schema_arrow.field(image).type
            if not (_is_bytes(found) or (pa.types.is_struct(found) and found.get_field_index("bytes") >= 0)):
                raise Refusal(
                    f"columns.image is {image!r}, which is of type {found} in {path}; "
                    "it should hold encoded bytes, or a struct with a field bytes."
                )
            yield name, path, file


def opened(path: Path) -> pq.ParquetFile | None:
    """A parquet file, or None where it cannot be opened, or not within bounds."""
    try:
        pages.footer(path)
        file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        return file if file.schema_arrow is not None else None  # names that are no text are told here
    except BROKEN:
        return None


def check_columns(path: Path, file: pq.ParquetFile, named: Named) -> None:
    """Refuses a file that lacks a column, or has it more than once."""
    for key, column in named:
        check_column(key, column, file.schema_arrow.names, path)


def values(
    file: pq.ParquetFile, footer: pages.Footer, group: int, columns: list[str], largest: int
) -> Iterator[dict[str, Any]]:
    """The values of every row of a row group by column; text that is not UTF-8 has lone surrogates for bytes.

    Of a text that no caption can have the end is left out. Raises HeavyPages where the pages take more than
    `largest` MB allow.
    """
    columns = list(dict.fromkeys(columns))
    most = 1_000_000 * largest
    rows = pages.layout(footer, group, columns).at_once(BATCH, most, TOGETHER)
    if not rows:
        raise HeavyPages(f"{footer.path} has pages too large to be read in row group {group}")
    for batch in file.iter_batches(rows, row_groups=[group], columns=columns):
        for row in zip(*(_values(batch[name]) for name in columns), strict=True):
            yield dict(zip(columns, row, strict=True))


def add_kinds(kinds: dict[str, bool], keep: tuple[str, ...], path: Path, schema: pa.Schema) -> None:
    """Adds whether each column that is kept beside holds text in a file; one without a value may be either.

    Raises Refusal where it holds no numbers either, or another file says otherwise.
    """
    for name in keep:
        kind = schema.field(name).type
        if pa.types.is_null(kind):
            continue
        here = is_text(name, kind)
        if kinds.setdefault(name, here) != here:
            raise Refusal(
                f"keep holds {name!r}, which is of type {kind} in {path} and of another in files before it; "
                "keep a column that is text in all files, or numbers in all."
            )


def is_text(name: str, kind: pa.DataType) -> bool:
    """Whether a column that is kept beside is kept as text. Raises Refusal where it holds no numbers either.

    An origin is, whatever it holds: it is a name, and whole numbers beyond 2**53 would be others as doubles.
    """
    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind  # as pandas writes categories
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return True
    if not (types.is_integer(kind) or types.is_floating(kind) or types.is_boolean(kind)):
        raise Refusal(f"keep holds {name!r}, which is of type {kind}; keep numbers or text.")
    return name == ORIGIN


def _is_bytes(column: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(column) or types.is_large_binary(column) or types.is_binary_view(column))


def _values(column: pa.Array) -> list[Any]:
    try:
        if column.nbytes <= TOGETHER:
            return list(column.to_pylist())
    except UnicodeDecodeError:
        pass
    return [plain(cell) for cell in column]


def plain(cell: pa.Scalar) -> Any:
    """The value of a cell; the end of a text that is too long for a caption is left out."""
    if (
        not isinstance(cell, pa.StringScalar | pa.LargeStringScalar | pa.StringViewScalar)
        or not cell.is_valid
    ):
        return cell.as_py()
    return cell.as_buffer()[:TEXT_BYTES].to_pybytes().decode("utf-8", "surrogateescape")
