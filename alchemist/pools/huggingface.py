"""Format huggingface: a data set of the Hugging Face hub by its name, or one that `save_to_disk` wrote.

Both by the library `datasets`, which runs no code of a data set's own since its version 4.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
from pydantic import Field

from alchemist.core import hub, process
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import KeepingPool
from alchemist.pools.base import (
    MISSING_IMAGE,
    TOO_LARGE,
    UNREADABLE_METADATA,
    Found,
    extras,
    id_text,
)
from alchemist.pools.parquet import HINTS, ColumnsSettings, is_text, plain  # noqa: F401 (hints of this one too)
from alchemist.pools.place import Span, image_bytes, image_size

if TYPE_CHECKING:
    from datasets import Dataset

BATCH = 64  # rows whose encoded images are in memory at once
_LARGE = 1_000_000  # bytes of a column
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class HuggingFacePool(KeepingPool):
    """A data set of the Hugging Face hub, or a folder of one."""

    format: Literal["huggingface"] = Field(
        description="a data set of the Hugging Face hub, or a folder of one"
    )
    path: str = Field(
        min_length=1, description="a folder that save_to_disk wrote, or else a name on the hub as owner/name"
    )
    config: str | None = Field(
        default=None, min_length=1, description="a data set's configuration, on the hub"
    )
    revision: str | None = Field(
        default=None, min_length=1, description="commit, branch or tag, on the hub; null: what it has today"
    )
    split: str = Field(
        default="train", min_length=1, description="of the data set; all of our splits are of it"
    )
    columns: ColumnsSettings = Field(default=ColumnsSettings(), description="names of the columns")

    def on_hub(self) -> bool:
        """See UserPool.on_hub."""
        return _HUB_NAME.fullmatch(self.path) is not None


BLOCK = HuggingFacePool


def read(pool: HuggingFacePool) -> Iterator[Found]:
    """A pair for every row, in the data set's order.

    An id is the value of the column of ids, or where there is none the split's name and the row's number.
    Raises Refusal where the folder is no data set, the hub is out of reach or does not give it, or a column
    is missing or of a wrong type.
    """
    data = _opened(pool)
    columns = pool.columns
    wanted = dict.fromkeys(
        [columns.image, columns.caption, *([columns.id] if columns.id else []), *pool.keep]
    )
    kinds = data.features.arrow_schema
    texts = {name for name in pool.keep if is_text(name, kinds.field(name).type)}
    number = 0
    for batch in data.select_columns(list(wanted)).with_format("arrow").iter(BATCH):
        for at in range(batch.num_rows):
            row = batch.slice(at, 1)
            if not _sound(row):
                yield Found(f"{pool.split}:{number}", None, None, UNREADABLE_METADATA)
                number += 1
                continue
            cells = {name: row[name][0] for name in wanted}
            value = {name: plain(cell) for name, cell in cells.items() if name != columns.image}
            caption = value[columns.caption] if columns.caption != columns.image else None
            image, reason = _image(cells[columns.image], pool.largest)
            yield Found(
                (id_text(value.get(columns.id)) if columns.id else "") or f"{pool.split}:{number}",
                caption if isinstance(caption, str) else None,
                image,
                reason,
                extra=extras(pool.keep, value, texts),
            )
            number += 1
        _let_go(batch)


def _sound(rows: pa.Table) -> bool:
    """Whether cells lie where the file says. Arrow reads them unasked, and ends the process where not."""
    for column in rows.columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            # Looked for last: a matter of this caption or id alone.
            is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
            if not (is_text and "UTF8" in str(error)):
                return False
    return True


def _let_go(batch: pa.Table) -> None:
    """The library maps whole files, and the kernel would leave what was read in memory."""
    for column in batch.columns:
        for chunk in column.chunks:
            for buffer in chunk.buffers():
                if buffer is not None and buffer.size > _LARGE:
                    process.page_out(buffer.address, buffer.size)


def expected(pool: HuggingFacePool) -> int:
    """The data set's rows. Raises Refusal as `read` does."""
    return len(_opened(pool))


def _image(cell: pa.Scalar, largest: int) -> tuple[bytes | Span | None, str]:
    """What a cell holds and "": encoded bytes or, where an image was not embedded, the path of its file.

    None and the reason where it holds neither, or more than an image of `largest` MB may have.
    """
    if 2 * image_size(cell) > 1_000_000 * largest:
        return None, TOO_LARGE
    content = image_bytes(cell)
    if content is None and isinstance(cell, pa.StructScalar) and cell.type.get_field_index("path") >= 0:
        path = plain(cell["path"]) if cell.is_valid else None
        return (Span(Path(path)), "") if path and isinstance(path, str) else (None, MISSING_IMAGE)
    return content, "" if content is not None else MISSING_IMAGE


def _opened(pool: HuggingFacePool) -> "Dataset":
    """The split, its images not decoded. Raises Refusal."""
    import datasets
    from datasets import Dataset, DatasetDict, Image

    on_disk = Path(pool.path).exists()
    if not on_disk and not _HUB_NAME.fullmatch(pool.path):
        raise Refusal(
            f"path is {pool.path!r}, which does not exist and is no name on the hub, as owner/name."
        )
    try:
        if on_disk:
            data = datasets.load_from_disk(pool.path)
        else:
            with hub.asked(datasets.config.HF_ENDPOINT):
                data = datasets.load_dataset(pool.path, pool.config, split=pool.split, revision=pool.revision)
    except Exception as error:  # of many libraries: of the hub, of its files, of Arrow
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        source = "is no data set that save_to_disk wrote" if on_disk else "the hub does not give"
        raise Refusal(f"path is {pool.path!r}, which {source}: {told}.") from None
    if isinstance(data, DatasetDict):
        if pool.split not in data:
            raise Refusal(f"split is {pool.split!r}; the data set at {pool.path} has {', '.join(data)}.")
        data = data[pool.split]
    elif on_disk and data.split is not None and str(data.split) != pool.split:
        raise Refusal(f"split is {pool.split!r}; the data set at {pool.path} is the split {data.split}.")
    assert isinstance(data, Dataset)
    try:
        data.data.validate()  # that there is as much as it says
    except pa.ArrowInvalid as error:
        raise Refusal(f"path is {pool.path!r}, which is damaged: {str(error).splitlines()[0]}.") from None
    _check(pool, data)
    if isinstance(data.features[pool.columns.image], Image):
        data = data.cast_column(pool.columns.image, Image(decode=False))
    return data


def _check(pool: HuggingFacePool, data: "Dataset") -> None:
    """Refuses columns that the data set lacks or that hold something else."""
    from datasets import Image, Value

    columns = pool.columns
    named = [
        ("columns.image", columns.image),
        ("columns.caption", columns.caption),
        ("columns.id", columns.id),
    ]
    for key, name in [*named, *(("keep", name) for name in pool.keep)]:
        if name is not None and name not in data.features:
            raise Refusal(
                f"{key} is {name!r}, which the data set {pool.path} lacks; its columns are "
                f"{', '.join(data.features)}."
            )
    image = data.features[columns.image]
    is_struct = isinstance(image, dict) and "bytes" in image
    is_bytes = isinstance(image, Value) and image.dtype in ("binary", "large_binary")
    if not (isinstance(image, Image) or is_struct or is_bytes):
        raise Refusal(
            f"columns.image is {columns.image!r}, which is of type {image} in {pool.path}; it should hold "
            "images or their encoded bytes."
        )
    for name in pool.keep:
        is_text(name, data.features.arrow_schema.field(name).type)
