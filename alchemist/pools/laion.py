"""Format laion: pictures of the web as img2dataset leaves them, tars with a parquet file beside each.

Source: rom1504/img2dataset, output format webdataset. Its keys are a shard's number and a row's, which change
when the pictures are downloaded again: ids are of the picture or its url. The parquet file has a row for
every url of the shard, also for those that the tar does not hold because their download failed.
"""

import hashlib
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings
from alchemist.core.settings.pool import KeepingPool
from alchemist.pools import pages, parquet
from alchemist.pools.base import (
    DOWNLOAD_FAILED,
    HEAVY_ROWS,
    MISSING_FILE,
    MISSING_IMAGE,
    RESIZE_FAILED,
    TRUNCATED_TAR,
    UNREADABLE_FILE,
    UNREADABLE_METADATA,
    Found,
    extras,
    files_of,
    id_text,
    text,
)
from alchemist.pools.image import decode
from alchemist.pools.place import BROKEN, HeavyPages, Span, Unreadable, fetch
from alchemist.pools.webdataset import Parts, caption_of, facts_of, grouped, image_of

ROWS = 100_000  # of a shard, ten times as many as img2dataset writes
FAILED = {"failed_to_download": DOWNLOAD_FAILED, "failed_to_resize": RESIZE_FAILED}  # by img2dataset's status


class WebColumnsSettings(Settings):
    """Names of the columns of img2dataset's parquet files, which are the keys of its JSON files too."""

    key: str = Field(default="key", min_length=1, description="column of the members' names")
    status: str = Field(default="status", min_length=1, description="column of what became of a download")
    url: str = Field(default="url", min_length=1, description="column of urls")
    sha256: str | None = Field(
        default="sha256", min_length=1, description="column of ids; null, or a null value: a hash of the url"
    )
    caption: str | None = Field(
        default=None, min_length=1, description="column of text; null: the text files of the tars"
    )


class LaionPool(KeepingPool):
    """Tars of img2dataset, with a parquet file beside each."""

    format: Literal["laion"] = Field(description="tars of img2dataset with their parquet files")
    path: str = Field(min_length=1, description="a folder of tars, or one tar")
    columns: WebColumnsSettings = Field(default=WebColumnsSettings(), description="names of the columns")
    group: Literal["url", "perceptual"] = Field(
        default="url",
        description="what shares a split: url: pictures of one host and path, whatever the query; "
        "perceptual: pictures of one difference hash of 64 bits, for which each is decoded once more",
    )


BLOCK = LaionPool


def read(pool: LaionPool) -> Iterator[Found]:
    """Every pair of every tar in the members' order, and after them the rows without one, with their reason.

    Raises Refusal where the path does not exist or holds no tar, or none with a parquet file beside it, or
    where such a file lacks a column.
    """
    texts = _check(pool)
    for name, path in files_of(pool, ".tar"):
        yield from _shard(pool, name, path, texts)


def expected(pool: LaionPool) -> int:
    """The rows of all parquet files. Raises Refusal as `read` does."""
    _check(pool)
    files = (parquet.opened(_table(path)) for _, path in files_of(pool, ".tar"))
    return sum(int(file.metadata.num_rows) for file in files if file is not None)


def _table(tar: Path) -> Path:
    return tar.with_suffix(".parquet")


def _named(pool: LaionPool) -> parquet.Named:
    named = [(f"columns.{key}", column) for key, column in pool.columns if column is not None]
    return named + [("keep", column) for column in pool.keep]


def _check(pool: LaionPool) -> set[str]:
    """The columns of `keep` that hold text. Refuses files that lack a column, before any is read."""
    opened, kinds = 0, dict[str, bool]()
    for _, path in files_of(pool, ".tar"):
        file = parquet.opened(_table(path))
        if file is None:
            continue
        with file:
            parquet.check_columns(_table(path), file, _named(pool))
            parquet.add_kinds(kinds, pool.keep, _table(path), file.schema_arrow)
            opened += 1
    if not opened:
        raise Refusal(
            f"path is {pool.path!r}, which holds no tar with a parquet file beside it, as img2dataset writes "
            "them; for tars alone the format is webdataset."
        )
    return {name for name, is_text in kinds.items() if is_text}


def _shard(pool: LaionPool, name: str, path: Path, texts: set[str]) -> Iterator[Found]:
    """The pairs of a tar and its parquet file, whose rows (some ten thousand) are in memory meanwhile."""
    rows, fault = _rows(pool, _table(path))
    stem = name.removesuffix(".tar")
    if fault:
        yield Found(f"{stem}.parquet", None, None, fault)
    for key, parts in grouped(path):
        if key is None:
            yield Found(name, None, None, TRUNCATED_TAR)
        else:
            facts = rows.pop(key) if key in rows else facts_of(parts) or {}
            yield _pair(pool, f"{stem}/{text(key)}", facts, parts, texts)
    for key, facts in rows.items():
        status = facts[pool.columns.status]
        reason = MISSING_IMAGE if status == "success" else FAILED.get(id_text(status), UNREADABLE_METADATA)
        own, group = _identity(pool, facts)
        yield Found(own or f"{stem}/{text(key)}", None, None, reason, group)


def _rows(pool: LaionPool, path: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """The rows of a parquet file by their key, and the reason why some or all are not there, or ""."""
    rows: dict[str, dict[str, Any]] = {}
    if not path.exists():
        return rows, MISSING_FILE
    file = parquet.opened(path)
    if file is None:
        return rows, UNREADABLE_FILE
    columns = [column for _, column in _named(pool)]
    number, held = 0, 0
    with file:
        footer = pages.footer(path)
        for group in range(len(footer.groups)):
            try:
                for row in parquet.values(file, footer, group, columns, pool.largest):
                    key = id_text(row[pool.columns.key])
                    rows[key if key and key not in rows else f"{key}#{number}"] = row  # each row counts
                    number += 1
                    held += sum(len(value) for value in row.values() if isinstance(value, str))
                    if 5 * held > 1_000_000 * pool.largest or number > ROWS:
                        return rows, HEAVY_ROWS
            except HeavyPages:
                return rows, HEAVY_ROWS
            except BROKEN:
                return rows, UNREADABLE_FILE
    return rows, ""


def _pair(pool: LaionPool, place: str, facts: dict[str, Any], parts: Parts, texts: set[str]) -> Found:
    (image, missing), column = image_of(parts), pool.columns.caption
    own, group = _identity(pool, facts)
    if not own:
        return Found(place, None, image, UNREADABLE_METADATA)
    if column is None:
        caption, fault = caption_of(parts)
    else:
        words, fault = facts.get(column), ""
        caption = words if isinstance(words, str) else None
    fault = missing or fault
    if image is not None and pool.group == "perceptual":
        group = _difference_hash(image, pool.largest) or group
    return Found(own, caption, image, fault, group, extras(pool.keep, facts, texts))


def _identity(pool: LaionPool, facts: dict[str, Any]) -> tuple[str, str | None]:
    """The id, "" where a row has neither hash nor url, and the group by the url, None where there is none."""
    url, column = facts.get(pool.columns.url), pool.columns.sha256
    own = id_text(facts.get(column)) if column is not None else ""
    if not isinstance(url, str):
        return own, None
    try:
        parts = urllib.parse.urlsplit(url)
        host, path = parts.hostname or "", parts.path
    except ValueError:  # of an address in brackets that is none
        host, path = "", url
    return own or f"url-{_hash(url)}", f"{text(host)}/{_hash(path)[:16]}"


def _hash(value: str) -> str:
    return hashlib.sha256(text(value).encode()).hexdigest()


def _difference_hash(place: Span, largest: int) -> str | None:
    """64 bits: whether a picture's grey grows from one of 9 x 8 fields to the next. None for no picture."""
    try:
        pixels, _ = decode(fetch(place, largest), 32, largest)
    except Unreadable:
        return None
    if pixels is None:
        return None
    grey = np.asarray(Image.fromarray(pixels).convert("L").resize((9, 8), Image.Resampling.BOX))
    return np.packbits(grey[:, 1:] > grey[:, :-1]).tobytes().hex()
