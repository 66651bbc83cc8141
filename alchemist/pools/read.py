"""Every pair of a pool with its split: composed emoji, or a person's own files by their format.

A split may be another pool, all of it.

Readers yield in a stable order and have a few images at a time in memory. A pair that cannot be used
has a row too, with a reason; nothing is replaced by a neighbour and no pair ends the run. A 16-byte hash
of each id stays in memory to find repeats (some 35 bytes). Pairs that share pixels or a group with one of
another split are still among them: which of two stays is no matter of their order, and the stage copies
decides it (`alchemist.pools.copies`).
"""

import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np

from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal, parse
from alchemist.core.settings.pool import PoolSettings, UserPool
from alchemist.core.stateless import id_uniforms
from alchemist.pools import emoji, memory
from alchemist.pools.base import (
    DUPLICATE,
    HEAVY_ROWS,
    NEAR,
    NEAR_SPLIT,
    OTHER_GROUP,
    OTHER_SPLIT,
    OUTSIDE,
    TOO_LARGE,
    UNREADABLE_FILE,
    UNREADABLE_IMAGE,
    UNSAMPLED,
    Adapter,
    Found,
    Record,
    clean_caption,
    unique,
)
from alchemist.pools.folder import FolderPool
from alchemist.pools.image import decode
from alchemist.pools.place import Cell, HeavyPages, TooLarge, Unreadable, read_each
from alchemist.pools.row import SPLITS, Row, located, pixel_hash
from alchemist.pools.seen import Seen

KEYS = {"meta_val": "meta_validation"}  # of splits whose key in params.yaml is another word
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


Others = Mapping[str, PoolSettings]  # blocks of `pools:` that a pool's splits name


def rows(pool: PoolSettings, processes: int, source: str = "", others: Others | None = None) -> Iterator[Row]:
    """Every pair of the pool named `source`, usable or not, with its split; the same for all `processes`.

    `others` has the pools that are a split of it, whose pairs come first. Raises Refusal where a path is
    wrong, or where the split pool, one with a positive share or another pool gets no usable pair.
    """
    if isinstance(pool, emoji.EmojiPool):
        return emoji.rows(pool, processes, source)
    assert isinstance(pool, UserPool)  # there are no others in the table
    return _split_rows(pool, source, _taken(pool, others or {}))


def roots(pool: PoolSettings, source: str = "", others: Others | None = None) -> dict[str, Path]:
    """The folder that the files of each pool lie below, by the pool's name; none where it has no files."""
    found = {}
    for name, one in [(source, pool), *(others or {}).items()]:
        if isinstance(one, UserPool):
            path = Path(one.path)
            found[name] = path.parent if path.is_file() else path
    return found


def expected(pool: PoolSettings, others: Others | None = None, source: str = "") -> int | None:
    """How many rows `rows` will give or so, for a progress bar; None where only reading would tell."""
    if isinstance(pool, emoji.EmojiPool):
        return emoji.expected(pool)
    counts: list[int | None] = []
    for name, other in itertools.chain([(source, pool)], (others or {}).items()):
        assert isinstance(other, UserPool)  # stage check refuses all else
        with _of(name):
            counts.append(ADAPTERS[other.format].expected(other))
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def licence(pool: PoolSettings) -> str:
    """The licence and attribution that travel with the pool."""
    return pool.licence if isinstance(pool, UserPool) else emoji.LICENCE


@contextlib.contextmanager
def _of(name: str) -> Iterator[None]:
    """A mistake in a pool is told as one of its block, if it has a name."""
    try:
        yield
    except Refusal as refused:
        raise Refusal(f"pools.{name}: {refused}" if name else str(refused)) from None


def _next(batches: Iterator[list[Record]], source: str) -> list[Record]:
    with _of(source):
        return next(batches, [])


def _taken(pool: UserPool, others: Others) -> dict[str, tuple[str, UserPool]]:
    """The pools that are a split of `pool`, whole, with their names, by the split; at its resolution."""
    found = {}
    for split, name in pool.splits.others().items():
        other = others[name].model_copy(update={"resolution": pool.resolution, "sample": 1.0})
        assert isinstance(other, UserPool)  # stage check refuses all else
        found[split] = name, other
    return found


def _split_rows(pool: UserPool, source: str, taken: dict[str, tuple[str, UserPool]]) -> Iterator[Row]:
    """Splits by a hash of the group, so that a split depends on no other pair; first the pools of `taken`."""
    counts: Counter[str] = Counter()
    for name, split, record in _placed(pool, source, taken):
        counts[record.reason or split] += 1
        yield Row(
            record.id, record.caption, split, record.group, record.image, record.reason, None, record.pixels,
            name, record.extra, record.labels, name == source and split != "pool",
        )  # fmt: skip
    check_splits(pool, f"pools.{source}" if source else "the pool", counts)


def check_splits(pool: UserPool, where: str, counts: Counter[str]) -> None:
    """Raises Refusal where a split that is asked for has no usable pair.

    `where` is the key of the pool's block; `counts` are usable pairs by split and others by reason.
    """
    shares, others = pool.splits.shares(), pool.splits.others()
    told = ", ".join(f"{count:,} x {KEYS.get(what, what)}" for what, count in counts.most_common())
    for split in [split for split in SPLITS if not counts[split]]:
        key = f"{where}.splits.{KEYS.get(split, split)}"
        if split in others:
            raise Refusal(
                f"{key}.pool is {others[split]}, of which no usable pair is left "
                f"({told or 'it has none'}); a pool of other pairs is legal."
            )
        if shares.get(split, 0) > 0:
            raise Refusal(
                f"{key} is {shares[split]:g}, and no usable pair fell to it ({told or 'there are none'})"
                f"{_why(pool, where, counts)}; 0 is legal, and so is a share that draws one."
            )
        if split == "pool":
            raise Refusal(
                f"{where} has no usable pair for its split pool ({told or 'there are none'})"
                f"{_why(pool, where, counts)}; one is the least."
            )


def _why(pool: UserPool, where: str, counts: Counter[str]) -> str:
    """Which key is behind it where half of the pairs or more have one reason or no other split, in words."""
    reasons = Counter({what: count for what, count in counts.items() if what not in SPLITS})
    if counts and not reasons and not counts["pool"]:
        return ": a group, and a cluster of copies, lies in one split whole"
    what, count = (reasons.most_common(1) or [("", 0)])[0]
    if 2 * count < counts.total():
        return ""
    copies = f"{where}.copies.threshold is {pool.copies.threshold:g}"
    elsewhere = f"a pool that {where}.splits names holds the same"
    large = f"{where}.largest is {pool.largest} (MB)"
    words = {
        UNSAMPLED: f"{where}.sample is {pool.sample:g}",
        **dict.fromkeys((DUPLICATE, NEAR, NEAR_SPLIT), copies),
        **dict.fromkeys((OTHER_SPLIT, OTHER_GROUP), elsewhere),
        **dict.fromkeys((TOO_LARGE, HEAVY_ROWS), large),
        **getattr(ADAPTERS[pool.format], "HINTS", {}),
    }
    if isinstance(pool, FolderPool):
        links = "" if pool.links else f"{where}.links is false, and "
        words[OUTSIDE] = f"{links}a file_name is a path from its metadata file's folder on, without .."
    return f": {words[what]}" if what in words else ""


def _placed(
    pool: UserPool, source: str, taken: dict[str, tuple[str, UserPool]]
) -> Iterator[tuple[str, str, Record]]:
    """Source, split and pair: the pools of `taken` whole, then the pool's own, by a draw of their groups."""
    ids = Seen()
    for split, (name, other) in taken.items():
        with _of(name):
            for record in records(other, ids, f"{name}:"):
                yield name, split, record
    shares = pool.splits.shares()
    splits, ends = [*shares, "pool"], np.cumsum(list(shares.values()))
    batches = memory.parts(records(pool, ids), BATCH, _weight, memory.AHEAD // 4)
    while batch := _next(batches, source):
        # By the batch, since one hash of many groups costs little more than that of one.
        places = id_uniforms([record.group for record in batch], "split", pool.seed)
        for record, number in zip(batch, np.searchsorted(ends, places, side="right"), strict=True):
            yield source, splits[number], record


def records(pool: UserPool, ids: Seen | None = None, prefix: str = "") -> Iterator[Record]:
    """The pairs of a person's pool in a stable order, their images decoded once, or with a reason.

    Ids are unique, also among those of `ids`, which were given before; `prefix` stands before each.
    Raises Refusal where the path does not exist or holds nothing of the stated format.
    """
    named = (_named(pair, pool, prefix) for pair in ADAPTERS[pool.format].read(pool))
    chosen = _sampled(unique(named, ids or Seen()), pool)
    pairs = ((pair, None if pair.reason else pair.image) for pair in chosen)
    yield from read_each(pairs, lambda pair, content: _record(pair, content, pool), pool.largest, _weight)


def _sampled(pairs: Iterable[Found], pool: UserPool) -> Iterator[Found]:
    """Rejects what lies outside the pool's sample, group by group, before an image is read."""
    for batch in memory.parts(pairs, BATCH, _weight, memory.AHEAD // 4):
        if pool.sample == 1:
            yield from batch
            continue
        places = id_uniforms([_group(pair) for pair in batch], "sample", pool.seed)
        for pair, out in zip(batch, places >= pool.sample, strict=True):
            yield replace(pair, image=None, reason=pair.reason or UNSAMPLED) if out else pair


def _weight(pair: Found | Record) -> int:
    """Bytes that a pair takes in memory, or more."""
    words = len(pair.id) + len(pair.caption or "") + len(pair.group or "")
    words += sum(len(value) for value in pair.extra.values() if isinstance(value, str))
    return 4 * words + (len(pair.image) if isinstance(pair.image, bytes) else 0)


def _group(pair: Found) -> str:
    return pair.id if pair.group is None else pair.group


def _named(pair: Found, pool: UserPool, prefix: str) -> Found:
    """A pair of another pool under a name of its own; its group too, where that is one in its pool alone."""
    if not prefix:
        return pair
    is_own = pair.group is not None and not pool.groups_everywhere
    return replace(pair, id=prefix + pair.id, group=f"{prefix}{pair.group}" if is_own else pair.group)


def _record(pair: Found, content: bytes | Unreadable | None, pool: UserPool) -> Record:
    """A pair with what lies at the place of its image."""
    caption, fault = clean_caption(pair.caption)
    record = Record(
        pair.id, caption, _group(pair), None, pair.reason or fault, extra=pair.extra, labels=pair.labels
    )
    if record.reason:
        return record
    if isinstance(content, Unreadable):
        return replace(record, reason=_why_unread(pair, content))
    image, reason = decode(content, pool.resolution, pool.largest)
    if image is None:
        return replace(record, reason=reason)
    assert content is not None
    assert pair.image is not None
    kept = content if isinstance(pair.image, bytes) else located(pair.image, content)
    return replace(record, image=kept, pixels=pixel_hash(image))


def _why_unread(pair: Found, error: Unreadable) -> str:
    if isinstance(error, TooLarge):
        return TOO_LARGE
    if isinstance(error, HeavyPages):
        return HEAVY_ROWS
    return UNREADABLE_FILE if isinstance(pair.image, Cell) else UNREADABLE_IMAGE
