"""Format parquet: tables with a column of encoded images, one of captions and perhaps one of ids."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.pools.base import UNREADABLE_FILE, Found, files_of, id_text
from alchemist.pools.place import Cell
from alchemist.settings import Settings
from alchemist.settings.pool import UserPool

BATCH = 1024  # rows whose captions are in memory at once


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


class ParquetPool(UserPool):
    """Tables with a column of encoded images."""

    format: Literal["parquet"] = Field(description="tables with a column of encoded images")
    path: str = Field(min_length=1, description="a folder of parquet files, or one file")
    columns: ColumnsSettings = Field(default=ColumnsSettings(), description="names of the columns")


BLOCK = ParquetPool


def read(pool: ParquetPool) -> Iterator[Found]:
    """A pair for every row of every file, in the order of the files' names.

    An id is the value of the column of ids, or where there is none the file's name and the row's
    number. Raises Refusal where the path does not exist or holds no parquet file, a file lacks a column
    or its column of images holds something else.
    """
    columns = pool.columns
    for _ in _files(pool):
        pass  # a wrong column in the last file is told before the first is decoded
    for name, path, file in _files(pool):
        if file is None:
            yield Found(name, None, None, UNREADABLE_FILE)
            continue
        number = 0
        try:
            for batch in file.iter_batches(BATCH, columns=[columns.caption, *filter(None, [columns.id])]):
                for row in range(len(batch)):
                    caption = _value(batch[columns.caption][row])
                    own = id_text(_value(batch[columns.id][row])) if columns.id else ""
                    yield Found(
                        own or f"{name}:{number}",
                        caption if isinstance(caption, str) else None,
                        Cell(path, columns.image, number),
                    )
                    number += 1
        except (pa.ArrowException, OSError):
            # The footer still tells how many rows the broken part has: each gets its outcome.
            for lost in range(number, file.metadata.num_rows):
                yield Found(f"{name}:{lost}", None, None, UNREADABLE_FILE)


def expected(pool: ParquetPool) -> int | None:
    """The rows of all files that can be opened. Raises Refusal as `read` does."""
    return sum(int(file.metadata.num_rows) for _, _, file in _files(pool) if file is not None)


def _wanted(columns: ColumnsSettings) -> dict[str, str]:
    """Names of the columns to read, by their keys in the settings."""
    wanted = {"image": columns.image, "caption": columns.caption}
    return wanted | ({"id": columns.id} if columns.id else {})


def _files(pool: ParquetPool) -> Iterator[tuple[str, Path, pq.ParquetFile | None]]:
    """Every file, opened, or None where it cannot be; refuses a file that lacks a column."""
    columns = pool.columns
    for name, path in files_of(pool, ".parquet"):
        try:
            file = pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)
        except (pa.ArrowException, OSError):
            yield name, path, None
            continue
        with file:
            for key, column in _wanted(columns).items():
                if column not in file.schema_arrow.names:
                    raise Refusal(
                        f"columns.{key} is {column!r}, which {path} lacks; "
                        f"its columns are {', '.join(file.schema_arrow.names)}."
                    )
            found = file.schema_arrow.field(columns.image).type
            if not (_is_bytes(found) or (pa.types.is_struct(found) and found.get_field_index("bytes") >= 0)):
                raise Refusal(
                    f"columns.image is {columns.image!r}, which is of type {found} in {path}; "
                    "it should hold encoded bytes, or a struct with a field bytes."
                )
            yield name, path, file


def _is_bytes(column: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_binary(column) or types.is_large_binary(column) or types.is_binary_view(column))


def _value(cell: pa.Scalar) -> Any:
    """A cell's value. Text that is not UTF-8 has lone surrogates for bytes."""
    try:
        return cell.as_py()
    except UnicodeDecodeError:
        return cell.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")
