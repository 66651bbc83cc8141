"""Encoded pairs on disk: named arrays of images and states of captions, in shards, random access by row.

Rows are numbered in the order of `rows.parquet`; `row_shards` of the manifest has the first of each shard.
That is the order of a person's files, which means nothing: row numbers of a split come in the order of a hash
of the ids. Arrays are mapped, not read, and written a shard at a time, so that memory does not grow with the
pool. Several folders that were written anywhere are joined to one (`join`).
"""

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from alchemist.core import files, finite, stateless
from alchemist.core.arrays import Growing
from alchemist.core.refusal import Refusal
from alchemist.models.batch import Batch, CaptionStates, Text

SHARD_BYTES = 256 << 20  # of one array, or of the states of captions: what waits in memory to be written
MOST_ROWS = 65_536  # of a shard
CODEC = "codec"  # folder beside the arrays: the image codec that they are of
ROWS, OFFSETS = "rows.parquet", "text_offsets.npy"
ORIGIN = "origin"  # column of rows that have it: where the pair came from


@dataclass(frozen=True)
class Rows:
    """Row numbers of some pairs. Its kinds say of which split, so that none can stand in for another."""

    numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


class PoolRows(Rows):
    """Pairs that are rated, pruned and trained on."""


class RatedRows(Rows):
    """Pairs that are rated: the split pool, and a person's own pairs that a share lent to another split."""


class ValidationRows(Rows):
    """Pairs of the meta-validation split, on which a rater's proxy is validated."""


class PretrainingRows(Rows):
    """Pairs of the neutral split, on which networks are trained that cells then adapt."""


class EvaluationRows(Rows):
    """Pairs that a generator is measured on: the prompts, whose images are generated."""


class Encoded:
    """A folder that `Writer` left. Row numbers are positions in `rows` (id, split, text, lent, cluster and,
    where the pool tells it, origin)."""

    def __init__(self, folder: Path) -> None:
        """Opens a folder. Raises Refusal where a file is not the one that was written."""
        self.folder = folder
        self.manifest = files.check_manifest(folder, once=True)
        if not {"arrays", "row_shards"} <= self.manifest.keys():
            raise Refusal(
                f"{folder} holds no encoded pairs, or those of another version of this repo; it should be a "
                "folder that stage encode wrote, and dvc repro makes it anew."
            )
        # Splits as codes: a Python object for each of 30 million would take gigabytes.
        self.rows = pd.read_parquet(folder / ROWS, read_dictionary=["split", ORIGIN], pre_buffer=False)
        self._text = self.rows["text"].to_numpy()
        self._splits = self.rows["split"].array
        self._offsets = np.load(folder / OFFSETS)
        self._row_shards = np.asarray(self.manifest["row_shards"])  # first row of each
        self._caption_shards = np.asarray(self.manifest["caption_shards"])  # first caption of each

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        return stateless.id_order(self.rows["id"])

    def _split(self, name: str) -> NDArray[np.int64]:
        return self._order[np.asarray(self._splits == name)[self._order]]

    def pool(self) -> PoolRows:
        """All pairs of the split that is pruned."""
        return PoolRows(self._split("pool"))

    def rated(self) -> RatedRows:
        """All pairs that are rated, those of the split pool first, in the order of `pool`."""
        is_lent = self.rows["lent"].to_numpy() & np.asarray(self._splits != "pool")
        return RatedRows(np.concatenate([self.pool().numbers, self._order[is_lent[self._order]]]))

    def validation(self) -> ValidationRows:
        """All pairs of the meta-validation split."""
        return ValidationRows(self._split("meta_val"))

    def pretraining(self) -> PretrainingRows:
        """All pairs of the neutral split; none of most pools."""
        return PretrainingRows(self._split("pretraining"))

    def evaluation(self, ids: "pd.Series[str]") -> EvaluationRows:
        """Prompts of the splits evaluation and clean, in the order given. Raises Refusal for any other id."""
        return EvaluationRows(self._found(ids, ("evaluation", "clean"), "list of prompts"))

    def subset(self, ids: "pd.Series[str]") -> PoolRows:
        """Pairs of the pool, in the order given. Raises Refusal for an id that is not in the pool."""
        return PoolRows(self._found(ids, ("pool",), "subset"))

    def _found(self, ids: "pd.Series[str]", splits: tuple[str, ...], what: str) -> NDArray[np.int64]:
        """Row numbers of ids."""
        found: NDArray[np.int64] = pd.Index(self.rows["id"]).get_indexer(pd.Index(ids))
        is_fit = np.logical_or.reduce([np.asarray(self._splits == split) for split in splits])
        strange = (found < 0) | ~is_fit[found]
        if strange.any():
            raise Refusal(
                f"the {what} holds id {ids.iloc[int(np.argmax(strange))]!r}, which is not among the encoded "
                f"pairs of the split {' or '.join(splits)}; run dvc repro."
            )
        return found

    def positions(self, numbers: NDArray[np.integer]) -> NDArray[np.int64]:
        """A hash of the ids of pairs, (B,): where their randomness comes from when they are scored."""
        return stateless.id_positions(self.rows["id"].iloc[numbers])

    def batch(self, numbers: NDArray[np.integer], dropped: NDArray[np.bool_] | None = None) -> Batch:
        """The pairs at row numbers, on the host; captions where `dropped` is true become the empty one."""
        text = self._text[numbers]
        if dropped is not None:
            text = np.where(dropped, 0, text)
        inputs = {name: torch.from_numpy(self._take(name, numbers)) for name in self.manifest["arrays"]}
        return Batch(inputs, self.text(text))

    def null(self, count: int, length: int) -> Text:
        """The empty caption, `count` times, padded to `length` word pieces."""
        return self.text(np.zeros(count, dtype=np.int64), length)

    def lengths(self, captions: NDArray[np.integer]) -> NDArray[np.int64]:
        """Word pieces of caption numbers."""
        found: NDArray[np.int64] = self._offsets[captions + 1] - self._offsets[captions]
        return found

    def text(self, captions: NDArray[np.integer], length: int = 0) -> Text:
        """States of caption numbers, padded with zeros to the longest or `length`.

        `pooled` is what the family's encoder gave, or else the mean of the states.
        """
        starts, ends = self._offsets[captions], self._offsets[captions + 1]
        longest = max(int((ends - starts).max()), length)
        shards = np.searchsorted(self._caption_shards, captions, side="right") - 1
        states = np.zeros((len(captions), longest, self.manifest["text_width"]), dtype=np.float32)
        for shard in np.unique(shards):
            stored = self._map("text", int(shard))
            first = self._offsets[self._caption_shards[shard]]
            for i in np.flatnonzero(shards == shard):
                states[i, : ends[i] - starts[i]] = stored[starts[i] - first : ends[i] - first]
        return _text(
            states, ends - starts, self._pooled(captions, shards) if self.manifest["pooled"] else None
        )

    def vectors(self, captions: NDArray[np.integer]) -> NDArray[np.float32]:
        """What `text` gives as pooled, (B, D), without reading states where the family's encoder gave it."""
        if not self.manifest["pooled"]:
            found: NDArray[np.float32] = self.text(captions).pooled.numpy()
            return found
        return self._pooled(captions, np.searchsorted(self._caption_shards, captions, side="right") - 1)

    def _pooled(self, captions: NDArray[np.integer], shards: NDArray[np.integer]) -> NDArray[np.float32]:
        """Vectors of caption numbers, each of which lies in its shard."""
        out = np.empty((len(captions), self._map("pooled", int(shards[0])).shape[1]), dtype=np.float32)
        for shard in np.unique(shards):
            here = shards == shard
            out[here] = self._map("pooled", int(shard))[captions[here] - self._caption_shards[shard]]
        return out

    def _take(self, name: str, numbers: NDArray[np.integer]) -> NDArray[Any]:
        """Rows of a named array, in the type of `_wide`."""
        shards = np.searchsorted(self._row_shards, numbers, side="right") - 1
        places = numbers - self._row_shards[shards]
        first = self._map(name, int(shards[0]))
        out = np.empty((len(numbers), *first.shape[1:]), dtype=_wide(first.dtype))
        for shard in np.unique(shards):
            here = shards == shard
            out[here] = self._map(name, int(shard))[places[here]]
        return out

    def _map(self, name: str, shard: int) -> NDArray[Any]:
        """A stored shard, mapped anew: a mapping that stays keeps every page that it has ever read."""
        mapped: NDArray[Any] = np.load(_shard(self.folder, name, shard), mmap_mode="r")
        return mapped


def batch_of(arrays: dict[str, NDArray[Any]], captions: list[CaptionStates]) -> Batch:
    """B pairs that were encoded just now, as `Encoded.batch` gives them once they are written.

    `arrays` are (B, …) each, as a codec gives them, and `captions` B.
    """
    lengths = np.array([len(states) for states, _ in captions])
    states = np.zeros((len(captions), lengths.max(), captions[0][0].shape[1]), dtype=np.float32)
    for i, (one, _) in enumerate(captions):
        states[i, : len(one)] = one
    vectors = [vector for _, vector in captions if vector is not None]
    inputs = {
        name: torch.from_numpy(np.ascontiguousarray(array).astype(_wide(array.dtype)))
        for name, array in arrays.items()
    }
    return Batch(inputs, _text(states, lengths, np.stack(vectors).astype(np.float32) if vectors else None))


def _text(states: NDArray[np.float32], lengths: NDArray[Any], pooled: NDArray[np.float32] | None) -> Text:
    """Padded states (B, T, D) with their lengths; pooled by their mean where the encoder gave no vector."""
    mask = np.arange(states.shape[1])[None] < lengths[:, None]
    if pooled is None:
        pooled = states.sum(1) / mask.sum(1, keepdims=True, dtype=np.float32)
    return Text(torch.from_numpy(states), torch.from_numpy(mask), torch.from_numpy(pooled))


def _wide(stored: np.dtype[Any]) -> Any:
    """The type in which stored values are given: bytes as they are, other whole numbers as int64, all else as
    float32."""
    return stored if stored == np.uint8 else np.int64 if np.issubdtype(stored, np.integer) else np.float32


class Writer:
    """Writes an encoded folder shard by shard. A context manager, which leaves the manifest at its end."""

    def __init__(self, folder: Path, shard_bytes: int = SHARD_BYTES, **facts: object) -> None:
        self.folder, self.bytes, self.facts = folder, shard_bytes, facts
        self._waiting: dict[str, list[NDArray[Any]]] = {}
        self._count = self._size = self._appended = 0
        self._row_shards: list[int] = []

    def __enter__(self) -> "Writer":
        return self

    def append(self, arrays: dict[str, NDArray[Any]]) -> None:
        """The next pairs' named arrays (B, …), B the same for all. Raises Refusal where some are not finite,
        with the ids that `rows` was given before."""
        count = len(next(iter(arrays.values())))
        for name, array in arrays.items():
            if not np.isfinite(array).all():
                ids = pd.read_parquet(self.folder / ROWS, columns=["id"])["id"]
                here = ids.iloc[self._appended : self._appended + count].tolist()
                finite.check(name, array, here, "the codec's weights may be broken, or overflow 16 bits")
        self._appended += count
        if not self._size:
            widest = max(array[:1].nbytes for array in arrays.values())
            self._size = max(1, min(MOST_ROWS, self.bytes // widest))
        for name, array in arrays.items():
            assert len(array) == count
            self._waiting.setdefault(name, []).append(array)
        self._count += count
        while self._count >= self._size:
            self._flush(self._size)

    def captions(self, states: Iterable[CaptionStates]) -> None:
        """The states of every distinct caption. The first must be the empty caption's: it is what dropped
        captions and guidance use."""
        lengths, shards, part, waiting = [0], list[int](), list[CaptionStates](), 0

        def flush() -> None:
            shards.append(len(lengths) - 1 - len(part))
            self._captions(len(shards) - 1, part)

        for one, vector in states:
            if not np.isfinite(one).all() or (vector is not None and not np.isfinite(vector).all()):
                raise Refusal(
                    f"the states of caption {len(lengths)} of those encoded are not finite; the weights of "
                    "the text encoder may be broken, or overflow 16 bits."
                )
            part.append((one, vector))
            lengths.append(len(one))
            waiting += one.nbytes
            if waiting >= self.bytes:
                flush()
                part, waiting = [], 0
        if part:
            flush()
        np.save(self.folder / OFFSETS, np.cumsum(lengths))
        facts = {"text_width": one.shape[1], "caption_shards": shards, "pooled": vector is not None}
        self.facts |= facts

    def _captions(self, shard: int, part: list[CaptionStates]) -> None:
        np.save(_shard(self.folder, "text", shard), np.concatenate([one for one, _ in part]))
        pooled = [vector for _, vector in part if vector is not None]
        if pooled:
            assert len(pooled) == len(part)
            np.save(_shard(self.folder, "pooled", shard), np.stack(pooled))

    def rows(self, table: pd.DataFrame) -> None:
        """What the pairs are: id, split, number of the caption, `lent` and `cluster` of the index, and where
        they came from, if that is told."""
        told = [ORIGIN] if ORIGIN in table else []
        table[["id", "split", "text", "lent", "cluster", *told]].to_parquet(self.folder / ROWS, index=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self._count:
                self._flush(self._count)
            facts = self.facts | {"arrays": sorted(self._waiting), "row_shards": self._row_shards}
            files.write_manifest(self.folder, **facts)

    def _flush(self, count: int) -> None:
        for name, parts in self._waiting.items():
            joined = np.concatenate(parts)
            np.save(_shard(self.folder, name, len(self._row_shards)), joined[:count])
            self._waiting[name] = [joined[count:].copy()]
        self._row_shards.append(self._size * len(self._row_shards))
        self._count -= count


# Alike in all parts.
FACTS = ("arrays", "pooled", "text_width", "codec", "text_encoder", "text", "text_sha256")


def join(parts: Sequence[Path], out: Path, **facts: object) -> None:
    """One folder of several that `Writer` left, their rows and captions behind one another.

    Files are linked where the disk allows it, and copied elsewhere; tables pass one at a time. Raises Refusal
    where a part was made by another codec or text encoder than the first.
    """
    first, hashes = files.read_sealed(parts[0] / files.MANIFEST), dict[str, str]()
    shards: dict[str, list[int]] = {"row_shards": [], "caption_shards": []}
    names = {"row_shards": first["arrays"], "caption_shards": ["text", *["pooled"] * first["pooled"]]}
    rows = captions = states = 0
    with (
        pq.ParquetWriter(out / ROWS, pq.read_schema(parts[0] / ROWS)) as table,
        Growing(out / OFFSETS, np.int64) as offsets,
    ):
        offsets.append([0])
        for part in parts:
            manifest = files.read_sealed(part / files.MANIFEST)
            if other := [name for name in FACTS if manifest.get(name) != first.get(name)]:
                raise Refusal(
                    f"{part} was made with another {other[0]} than {parts[0]}, as on a machine with other "
                    "weights; remove one of them, and run this again where all are alike."
                )
            for kind, before in (("row_shards", rows), ("caption_shards", captions)):
                for number, start in enumerate(manifest[kind]):
                    for name in names[kind]:
                        held, to = _shard(part, name, number), _shard(out, name, len(shards[kind]))
                        _link(held, to)
                        hashes[to.name] = manifest["files"][held.name]
                    shards[kind].append(before + start)
            told = pq.read_table(part / ROWS)
            moved = pc.add(told["text"], captions)
            table.write_table(told.set_column(told.column_names.index("text"), "text", moved))
            own = np.load(part / OFFSETS)
            offsets.append(own[1:] + states)
            rows, captions, states = rows + len(told), captions + len(own) - 1, states + int(own[-1])
    facts |= {name: first[name] for name in FACTS if name in first}
    files.write_manifest(out, hashes, **shards, **facts)


def _link(held: Path, to: Path) -> None:
    try:
        os.link(held, to)
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(held, to)


def _shard(folder: Path, name: str, shard: int) -> Path:
    return folder / f"{name}-{shard:05d}.npy"
