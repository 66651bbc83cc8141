"""Format flux_reason: FLUX-Reason-6M, parquet shards in folders, with several captions and scores a picture.

Source: LucasFang/FLUX-Reason-6M on the Hugging Face hub. The rater sees the caption, so it is chosen once, by
config, and not drawn anew each epoch.
"""

from collections.abc import Iterator
from typing import Any, Literal

import pyarrow as pa
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings
from alchemist.core.settings.pool import UserPool
from alchemist.pools import parquet
from alchemist.pools.base import Found, as_number, files_of, id_text


class ReasonColumnsSettings(Settings):
    """Names of FLUX-Reason's columns."""

    image: str = Field(default="image", min_length=1, description="column of structs with a field bytes")
    id: str = Field(default="id", min_length=1, description="column of ids")
    captions: tuple[str, ...] = Field(
        default=("caption_detail",), min_length=1, description="columns of text; the first that is not empty"
    )
    scores: str | None = Field(
        default="score_", min_length=1, description="how columns of numbers begin that are kept; null: none"
    )


class FluxReasonPool(UserPool):
    """FLUX-Reason-6M: parquet files with several captions a picture."""

    format: Literal["flux_reason"] = Field(description="FLUX-Reason-6M: parquet files with several captions")
    path: str = Field(min_length=1, description="a folder of parquet files, or one file")
    columns: ReasonColumnsSettings = Field(
        default=ReasonColumnsSettings(), description="names of the columns"
    )


BLOCK = FluxReasonPool


def read(pool: FluxReasonPool) -> Iterator[Found]:
    """A pair for every row of every file, in the order of the files' paths.

    Raises Refusal where the path does not exist or holds no parquet file, or where a file lacks a column.
    """
    columns, scores = pool.columns, _scores(pool)

    def pair(row: dict[str, Any], name: str) -> Found:
        captions = [row[column] for column in columns.captions if isinstance(row[column], str)]
        empty = captions[0] if captions else None
        caption = next((caption for caption in captions if caption.strip()), empty)
        extra = {score: as_number(row[score]) for score in scores}
        return Found(id_text(row[columns.id]) or name, caption, None, extra=extra)

    return parquet.pairs(pool, _named(pool, scores), columns.image, pair)


def expected(pool: FluxReasonPool) -> int:
    """The rows of all files that can be opened. Raises Refusal as `read` does."""
    return parquet.row_count(pool, _named(pool, _scores(pool)), pool.columns.image)


def _named(pool: FluxReasonPool, scores: list[str]) -> parquet.Named:
    columns = pool.columns
    named = [("columns.image", columns.image), ("columns.id", columns.id)]
    named += [("columns.captions", caption) for caption in columns.captions]
    return named + [("columns.scores", score) for score in scores]


def _scores(pool: FluxReasonPool) -> list[str]:
    """The columns of scores of the first file that can be opened; all others must have them."""
    prefix = pool.columns.scores
    if prefix is None:
        return []
    for _, path in files_of(pool, ".parquet"):
        file = parquet.opened(path)
        if file is None:
            continue
        with file:
            schema = file.schema_arrow
        names = [field.name for field in schema if field.name.startswith(prefix) and _is_number(field.type)]
        if not names:
            raise Refusal(
                f"columns.scores is {prefix!r}, and no column of numbers of {path} begins so; "
                f"its columns are {', '.join(schema.names)}."
            )
        return names
    return []


def _is_number(column: pa.DataType) -> bool:
    return bool(pa.types.is_integer(column) or pa.types.is_floating(column))
