"""What becomes of copies: which pair of several stays, and in which split they all lie.

Nothing here depends on the order of a person's files. Which pairs are near copies of one another is found
elsewhere, by features of their pictures; this module is told it as one row's number for each row. Arrays are
of the usable pairs alone, in the order of the index, (N,): 240 bytes a pair at their peak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alchemist.core.refusal import Refusal
from alchemist.core.settings.copies import CopiesSettings
from alchemist.core.siphash import hashes
from alchemist.core.stateless import id_uniforms
from alchemist.pools import captions
from alchemist.pools.base import DUPLICATE, NEAR, NEAR_SPLIT, OTHER_GROUP, OTHER_SPLIT
from alchemist.pools.row import SPLITS
from alchemist.pools.store import INDEX

REASONS = ("", DUPLICATE, OTHER_GROUP, OTHER_SPLIT, NEAR_SPLIT, NEAR)  # by their codes
READ = ["id", "caption", "split", "group", "status", "source", "cluster", "pixels"]
FACTS = "copies.json"  # in the pool's folder
LARGEST, SHOWN = 12, 8  # clusters that are told of, and pairs of each

Numbers = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Pairs:
    """The usable pairs of a pool as it was read."""

    key: Hashes  # of the id, as the index has it
    order: (
        Numbers  # 0 … N - 1: which comes first among copies, those of pools that are splits before all others
    )
    source: NDArray[np.uint8]  # the place among the sources; the pool's own is the last
    split: NDArray[np.uint8]  # the place in SPLITS
    group: Hashes
    caption: Hashes
    words: Hashes  # of the caption without what makes no difference (`captions.normalised`)
    pixels: Hashes
    own: int  # the code of the pool's own pairs in `source`

    def ranked(self) -> Numbers:
        """The rows from first to last."""
        rows = np.empty_like(self.order)
        rows[self.order] = np.arange(len(rows))
        return rows


@dataclass(frozen=True)
class Settled:
    """What becomes of each pair."""

    split: NDArray[np.uint8]
    reason: NDArray[np.uint8]  # the place in REASONS, 0 for a pair that stays
    leader: Numbers  # the row of the first pair of its cluster: itself for a pair without copies
    facts: dict[str, Any]
    largest: list[Numbers]  # rows of the largest clusters, the first pair first
    surplus: NDArray[np.bool_]  # pairs of held-out splits that are dropped copies all the same: not rated


def read(folder: Path, sources: Sequence[str], seed: int) -> Pairs:
    """Streams a pool's index. `sources`: the pools that are splits of it, as they go first, and itself."""
    codes, splits = {name: i for i, name in enumerate(sources)}, {name: i for i, name in enumerate(SPLITS)}
    parts: list[list[NDArray[Any]]] = []
    with pq.ParquetFile(folder / INDEX) as index:
        for batch in index.iter_batches(columns=READ):
            rows = batch.to_pandas()
            rows = rows[rows["status"] == "ok"]
            parts.append(
                [
                    rows["cluster"].to_numpy(np.uint64),
                    id_uniforms(rows["id"], "copies", seed),
                    rows["source"].map(codes).to_numpy(np.uint8),
                    rows["split"].map(splits).to_numpy(np.uint8),
                    hashes(rows["group"]),
                    hashes(rows["caption"]),
                    captions.hashes(rows["caption"]),
                    rows["pixels"].to_numpy(np.uint64),
                ]
            )
    key, place, source, split, group, caption, words, pixels = map(np.concatenate, zip(*parts, strict=True))
    order = np.empty(len(key), np.int64)
    order[np.lexsort((key, place, source))] = np.arange(len(key))
    return Pairs(key, order, source, split, group, caption, words, pixels, len(sources) - 1)


def equal_pixels(pairs: Pairs) -> Numbers:
    """Of each pair the row of the first with the same pixels."""
    return pairs.ranked()[_least(pairs.pixels, pairs.order)]


def settle(pairs: Pairs, found: Numbers, settings: CopiesSettings) -> Settled:
    """Splits and reasons, by `found`: for each row the number of one that stands for its cluster.

    1. A pair whose group a pool has that is a split stays out, unless it is of the first such pool itself.
    2. Of pairs of one source with equal pixels and caption the first stays.
    3. A cluster lies in the split of its first pair. Of the pool's own pairs those without a group of several
       move there; all others that lie elsewhere stay out, since groups lie in one split too, and what another
       pool holds is held out whole.
    4. Where copies are dropped, `keep` of each cluster stay among the pool's own pairs in the split pool. In
       other splits all stay, and as many of each cluster are rated.

    The first is the first in `pairs.order`.
    """
    own, reason, split = pairs.source == pairs.own, np.zeros(len(found), np.uint8), pairs.split.copy()
    reason[pairs.source > _least(pairs.group, pairs.source)] = REASONS.index(OTHER_GROUP)
    reason[_repeats(pairs, reason == 0)] = REASONS.index(DUPLICATE)

    kept = reason == 0
    # Rejected pairs lead no cluster, unless there is no other.
    order = np.where(kept, pairs.order, pairs.order + len(found))
    leader = pairs.ranked()[_least(found, order) % max(1, len(found))]
    alone = own & (_count(pairs.group, kept & own) == 1)
    astray = kept & (split != pairs.split[leader])
    moved = astray & alone & own[leader]
    split[moved] = pairs.split[leader[moved]]
    out = astray & ~moved
    same = np.isin(pairs.pixels[out], pairs.pixels[kept & ~out])
    reason[out] = np.where(same, REASONS.index(OTHER_SPLIT), REASONS.index(NEAR_SPLIT))

    kept = reason == 0
    mine = kept & own
    copies = mine & (leader != np.arange(len(found)))
    facts = _facts(pairs, mine, copies, leader) | {"moved": int(moved.sum())}
    largest = _largest(pairs, mine, leader)
    facts |= _drop(settings, facts)
    surplus = np.zeros(len(found), np.bool_)
    if facts["dropped"]:
        assert settings.keep is not None
        late = _place_in(leader, pairs.order, mine) >= settings.keep
        surplus = mine & late & (split != SPLITS.index("pool"))
        reason[mine & late & ~surplus] = REASONS.index(NEAR)
    facts["unrated"] = int(surplus.sum())
    counts = np.bincount(reason, minlength=len(REASONS)).tolist()
    facts["left_out"] = {REASONS[code]: count for code, count in enumerate(counts) if code and count}
    return Settled(split, reason, leader, facts, largest, surplus)


def untouched(pairs: Pairs) -> Settled:
    """All pairs as they were read, each a cluster of its own."""
    rows = np.arange(len(pairs.key))
    return Settled(pairs.split, np.zeros(len(rows), np.uint8), rows, {}, [], np.zeros(len(rows), np.bool_))


def check(pairs: Pairs, settled: Settled) -> None:
    """Asserts that no group, no pixels and no cluster lie in two splits."""
    kept = settled.reason == 0
    split = settled.split[kept]
    for what, of in (("group", pairs.group), ("the same pixels", pairs.pixels), ("cluster", settled.leader)):
        here = of[kept]
        assert (_least(here, split) == split).all(), f"{what} in two splits"


def refuse_one_cluster(pairs: Pairs, settled: Settled, settings: CopiesSettings, where: str) -> None:
    """Raises Refusal where all of the pool's own pairs are copies of one. `where`: the key of its block."""
    codes = [REASONS.index(reason) for reason in ("", DUPLICATE, NEAR)]
    own = np.isin(settled.reason, codes) & (pairs.source == pairs.own)
    if own.sum() > 1 and len(np.unique(settled.leader[own])) == 1:
        alike = len(np.unique(pairs.pixels[own])) == 1
        why = "pixel by pixel" if alike else f"by {where}.copies.threshold {settings.threshold:g}"
        raise Refusal(
            f"All {own.sum():,} usable pairs of {where} are copies of one, {why}; a pool needs two clusters "
            f"at least: other pairs{'' if alike else f', or {where}.copies.find: false'}."
        )


# ---------------------------------------------------------------------- parts of it


def _least(keys: NDArray[Any], values: NDArray[Any]) -> NDArray[Any]:
    """Of each row the least value among the rows with its key."""
    out = np.empty_like(values)
    if len(keys):
        order = np.argsort(keys, kind="stable")
        begins = _begins(keys[order])
        counts = np.diff(np.append(begins, len(keys)))
        out[order] = np.repeat(np.minimum.reduceat(values[order], begins), counts)
    return out


def _begins(ordered: NDArray[Any]) -> Numbers:
    """Where runs of equal values begin."""
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))


def _count(keys: Hashes, which: NDArray[np.bool_]) -> Numbers:
    """Of each row how many rows of `which` have its key; 0 for the others."""
    out = np.zeros(len(keys), np.int64)
    _, inverse, counts = np.unique(keys[which], return_inverse=True, return_counts=True)
    out[which] = counts[inverse]
    return out


def _repeats(pairs: Pairs, which: NDArray[np.bool_]) -> Numbers:
    """Rows of `which` that have the source, pixels and caption of an earlier one."""
    rows = np.flatnonzero(which)
    keys: list[NDArray[Any]] = [pairs.caption[rows], pairs.pixels[rows], pairs.source[rows]]
    by = np.lexsort((pairs.order[rows], *keys))
    same = np.logical_and.reduce([key[by][1:] == key[by][:-1] for key in keys])
    return rows[by[1:][same]]


def _place_in(clusters: Numbers, order: Numbers, which: NDArray[np.bool_]) -> Numbers:
    """Of each row of `which` its place in its cluster, 0 for the first and for the other rows."""
    rows = np.flatnonzero(which)
    by = rows[np.lexsort((order[rows], clusters[rows]))]
    out = np.zeros(len(order), np.int64)
    if len(by):
        begins = _begins(clusters[by])
        out[by] = np.arange(len(by)) - np.repeat(begins, np.diff(np.append(begins, len(by))))
    return out


def _facts(
    pairs: Pairs, mine: NDArray[np.bool_], copies: NDArray[np.bool_], leader: Numbers
) -> dict[str, Any]:
    """How many of the pool's own pairs are copies of another, and how many have a caption of their own."""
    _, counts = np.unique(pairs.words[mine], return_counts=True)
    count = int(mine.sum())
    return {
        "pairs": count,
        "copies": int(copies.sum()),
        "share": float(copies.sum() / max(1, count)),
        "clusters": len(np.unique(leader[copies])),
        "captions": len(counts),
        "captions_repeated": float((counts > 1).sum() / max(1, len(counts))),
        "pairs_of_own_caption": float((counts == 1).sum() / max(1, count)),
    }


def _largest(pairs: Pairs, mine: NDArray[np.bool_], leader: Numbers) -> list[Numbers]:
    """Rows of the largest clusters of the pool's own pairs, each in order."""
    names, counts = np.unique(leader[mine], return_counts=True)
    names, counts = names[counts > 1], counts[counts > 1]
    chosen = names[np.lexsort((pairs.order[names], -counts))[:LARGEST]]
    out = []
    for name in chosen:
        rows = np.flatnonzero(mine & (leader == name))
        out.append(rows[np.argsort(pairs.order[rows])])
    return out


def _drop(settings: CopiesSettings, facts: dict[str, Any]) -> dict[str, Any]:
    """Whether copies are dropped, and why in words."""
    share = f"{100 * facts['share']:.1f} % of the pairs are copies of another"
    if settings.keep is None:
        return {"dropped": False, "why": "keep is null"}
    if settings.drop == "auto":
        over = facts["share"] > settings.share
        than = f"{'more' if over else 'not more'} than {100 * settings.share:g} %"
        return {"dropped": over, "why": f"{share}, {than}"}
    return {"dropped": settings.drop == "always", "why": f"drop is {settings.drop}"}
