"""Every pair of a pool with its split: composed emoji, or a person's own files by their format.

Readers yield in a stable order and have a few images at a time in memory. A pair that cannot be used
has a row too, with a reason; nothing is replaced by a neighbour and no pair ends the run. Per pair,
16-byte hashes of its id, its pixels and its pixels with caption stay in memory to find repeats (some
100 bytes).
"""

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms
from alchemist.pools import emoji
from alchemist.pools.base import (
    DUPLICATE,
    OTHER_SPLIT,
    UNREADABLE_FILE,
    UNREADABLE_IMAGE,
    Adapter,
    Found,
    Record,
    checked_path,
    clean_caption,
    digest,
    unique,
)
from alchemist.pools.image import decode
from alchemist.pools.place import Cell, Unreadable, read_each
from alchemist.pools.row import SPLITS, Row, located, pixel_hash
from alchemist.pools.seen import Seen
from alchemist.settings import legal, parse
from alchemist.settings.pool import PoolSettings, UserPool

BATCH = 64  # pairs whose splits are drawn at once

# A format of a person's own files is a module with BLOCK, `read` and `expected`, and a line here.
NAMES = (
    "folder",
    "webdataset",
    "parquet",
    "hpdv3",
    "mjhq30k",
    "huggingface",
    "flux_reason",
    "laion",
)
ADAPTERS: dict[str, Adapter] = {
    name: cast(Adapter, import_module(f"alchemist.pools.{name}")) for name in NAMES
}
FORMATS: dict[str, type[PoolSettings]] = {
    "emoji": emoji.BLOCK,
    **{name: adapter.BLOCK for name, adapter in ADAPTERS.items()},
}


def pool_settings(value: Any, where: str) -> PoolSettings:
    """The block at `where`, by its format. Raises Refusal for an unknown format."""
    return parse(FORMATS[legal.tag(value, where, "format", FORMATS)], value, where)


def rows(pool: PoolSettings, processes: int, source: str = "") -> Iterator[Row]:
    """Every pair of the pool named `source`, usable or not, with its split; the same for all `processes`.

    Raises Refusal where the path is wrong, or where the split pool or a split with a positive share
    gets no usable pair.
    """
    if isinstance(pool, emoji.EmojiPool):
        return emoji.rows(pool, processes, source)
    assert isinstance(pool, UserPool)  # there are no others in the table
    return _split_rows(pool, source)


def roots(pool: PoolSettings, source: str = "") -> dict[str, Path]:
    """The folder that the pool's files lie below, by the pool's name; none where it has no files."""
    if not isinstance(pool, UserPool):
        return {}
    path = checked_path(pool)
    return {source: path.parent if path.is_file() else path}


def expected(pool: PoolSettings) -> int | None:
    """How many rows `rows` will give or so, for a progress bar; None where only reading would tell."""
    if isinstance(pool, emoji.EmojiPool):
        return emoji.expected(pool)
    return ADAPTERS[pool.format].expected(pool)


def licence(pool: PoolSettings) -> str:
    """The licence and attribution that travel with the pool."""
    return pool.licence if isinstance(pool, UserPool) else emoji.LICENCE


def _split_rows(pool: UserPool, source: str) -> Iterator[Row]:
    """Splits by a hash of the group, so that a split depends on no other pair."""
    shares = {
        "meta_val": pool.splits.meta_validation,
        "evaluation": pool.splits.evaluation,
        "scorer": pool.splits.scorer,
    }
    ends = np.cumsum(list(shares.values()))
    seen = Seen()  # pixels, with the split that has them
    counts: Counter[str] = Counter()
    pairs = records(pool)
    while batch := list(itertools.islice(pairs, BATCH)):
        # By the batch, since one hash of many groups costs little more than that of one.
        places = id_uniforms([record.group for record in batch], "split", pool.seed)
        numbers = np.searchsorted(ends, places, side="right")
        for record, number in zip(batch, numbers.tolist(), strict=True):
            split = [*shares, "pool"][number]
            image, reason = record.image, record.reason
            # Equal pixels in two splits would let a model be judged on what it was trained on.
            code = SPLITS.index(split)
            if image is not None and seen.add(record.pixels, code) not in (None, code):
                image, reason = None, OTHER_SPLIT
            counts[reason or split] += 1
            yield Row(
                record.id, record.caption, split, record.group, image, reason, None, record.pixels, source,
                record.extra, record.labels,
            )  # fmt: skip
    for split in SPLITS:
        if not counts[split] and (split == "pool" or shares[split] > 0):
            found = ", ".join(f"{count} x {what}" for what, count in counts.most_common()) or "no pairs"
            raise Refusal(
                f"The pool at {pool.path} has no usable pair in split {split} ({found}); "
                "every split with a positive share needs one."
            )


def records(pool: UserPool) -> Iterator[Record]:
    """The pairs of a person's pool in a stable order, their images decoded once, or with a reason.

    Ids are unique. A pair whose pixels and caption came before is rejected: an exact duplicate.
    Raises Refusal where the path does not exist or holds nothing of the stated format.
    """
    seen = Seen()
    pairs = ((pair, None if pair.reason else pair.image) for pair in unique(ADAPTERS[pool.format].read(pool)))
    for record in read_each(pairs, lambda pair, content: _record(pair, content, pool)):
        if record.image is not None and seen.add(digest(record.pixels + record.caption.encode())) is not None:
            record = replace(record, image=None, reason=DUPLICATE)  # noqa: PLW2901
        yield record


def _record(pair: Found, content: bytes | Unreadable | None, pool: UserPool) -> Record:
    """A pair with what lies at the place of its image."""
    caption, fault = clean_caption(pair.caption)
    group = pair.id if pair.group is None else pair.group
    record = Record(pair.id, caption, group, None, pair.reason or fault, extra=pair.extra, labels=pair.labels)
    if record.reason:
        return record
    if isinstance(content, Unreadable):
        return replace(record, reason=UNREADABLE_FILE if isinstance(pair.image, Cell) else UNREADABLE_IMAGE)
    image, reason = decode(content, pool.resolution)
    if image is None:
        return replace(record, reason=reason)
    assert content is not None
    assert pair.image is not None
    kept = content if isinstance(pair.image, bytes) else located(pair.image, content)
    return replace(record, image=kept, pixels=pixel_hash(image))
