"""A pool on disk: one table with a row a pair, rejected ones too, which says where each image lies.

Images of a person's files stay there; those that have no file of their own lie in a few shards.
This module knows nothing of how pairs are found, so that later stages depend on the store alone.
It writes planted truth and labels but does not read them: `alchemist.pools.truth` does.
"""

import functools
import os
import urllib.parse
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alchemist.core import files, stateless
from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.core.settings.pool import LARGEST
from alchemist.pools.image import decode
from alchemist.pools.place import Cell, Place, Span, Unreadable, read_each
from alchemist.pools.row import RARE, SPLITS, Located, Row, crc, pixel_hash
from alchemist.pools.shards import ByteShards, PixelShards
from alchemist.pools.table import Table, Tables, read_tables

INDEX = "index.parquet"
CARD = "card.json"
EXTRA = "extra.parquet"  # by id, beside the index, which it would bloat
TRUTH = "truth.parquet"
LABELS = "labels.parquet"
# Columns that `images` reads. `source` is the block of `pools:` that a pair is of; `file` is relative to its
# path, or to the folder that `shards` gives where `place` is pixels or bytes.
PLACE = ["id", "source", "place", "file", "column", "offset", "size", "crc"]
_ROWS = 8192  # of the index, in memory at once
_WORD = pa.dictionary(pa.int32(), pa.string())  # few values, many rows
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "caption", "split", "group", "status", "reason")),
        ("source", _WORD),
        ("lent", pa.bool_()),
        ("cluster", pa.uint64()),
        ("pixels", pa.uint64()),
        ("place", _WORD),
        ("file", pa.string()),
        ("column", _WORD),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("crc", pa.uint32()),
    ]
)
_NOWHERE: dict[str, Any] = {
    "pixels": 0, "place": "", "file": "", "column": "", "offset": -1, "size": -1, "crc": 0,
}  # fmt: skip
_FACTS = ("id", "caption", "split", "group", "reason", "source", "lent")


def write_pool(
    folder: Path,
    rows: Iterable[Row],
    resolution: int,
    shard_pairs: int,
    facts: dict[str, Any],
    truth_folder: Path | None = None,
    roots: Mapping[str, Path] | None = None,
) -> dict[str, Any]:
    """Streams rows into an empty folder; returns the card: `facts` and the counts of every outcome.

    Pixels are (resolution, resolution, 3), `shard_pairs` of them a file; 0 where no row has pixels. `roots`
    has the folder of each source whose images stay where they lie. What was planted and labels go to
    `truth_folder`, which raters and trainers do not get; None: beside the pool.
    Memory grows by 8 bytes a pair while writing and as much again in the closing check, plus planted truth.
    Asserts that ids are unique.
    """
    roots = roots or {}
    counts: dict[str, dict[str, Counter[str]]] = {}  # by source and split
    truth: list[tuple[str, str]] = []
    # Hashes, since the names themselves would take ten times the memory: two of a million have the same
    # with a chance of 5e-8.
    ids = array("Q")
    side = truth_folder or folder
    with (
        PixelShards(folder, resolution, shard_pairs) as shards,
        ByteShards(folder) as kept,
        Table(folder / INDEX, _SCHEMA) as index,
        Tables(folder / EXTRA) as extra,
        Tables(side / LABELS) as labels,
    ):
        for pair in rows:
            here = counts.setdefault(pair.source, {split: Counter() for split in SPLITS})
            here[pair.split][pair.reason or "ok"] += 1
            own = stateless.key(pair.id)
            ids.append(own)
            # Of a repeat the hash says what it repeats.
            place = {**_NOWHERE, "pixels": word(pair.pixels)}
            if not pair.reason:
                place = _place(pair, shards, kept, roots)
            if pair.kind is not None:
                truth.append((pair.id, pair.kind))
            fact = {name: getattr(pair, name) for name in _FACTS} | {
                "cluster": stateless.key(pair.copy_of) if pair.copy_of else own
            }
            index.append({**fact, **place, "status": "rejected" if pair.reason else "ok"})
            if pair.extra:
                extra.append(pair.source, {"id": pair.id, **pair.extra})
            if pair.labels:
                labels.append(pair.source, {"id": pair.id, **pair.labels})
    _assert_unique(ids)
    pd.DataFrame(truth, columns=["id", "kind"], dtype="str").to_parquet(side / TRUTH, index=False)
    if side != folder:
        files.write_manifest(side)
    about = {"resolution": resolution, "roots": {name: str(root) for name, root in roots.items()}}
    return write_card(folder, {**facts, **about}, counts)


def write_card(
    folder: Path, facts: Mapping[str, Any], counts: Mapping[str, Mapping[str, Counter[str]]]
) -> dict[str, Any]:
    """Writes and returns the card, `facts` and the counts by source and split, and the folder's manifest."""
    whole = {split: sum((here[split] for here in counts.values()), Counter()) for split in SPLITS}
    card = {
        **facts,
        "counts": _plain(whole),
        "sources": {name: _plain(here) for name, here in counts.items()},
        "pairs": sum(counted.total() for counted in whole.values()),
        "ok": sum(counted["ok"] for counted in whole.values()),
    }
    files.write_json(folder / CARD, card)
    files.write_manifest(folder)
    return card


def _plain(counts: Mapping[str, Counter[str]]) -> dict[str, dict[str, int]]:
    """Counts of every split; of those that most pools do not have, where there is one."""
    return {
        split: dict(sorted(counted.items()))
        for split, counted in counts.items()
        if counted or split not in RARE
    }


def _place(pair: Row, shards: PixelShards, kept: ByteShards, roots: Mapping[str, Path]) -> dict[str, Any]:
    """Where the image of a usable pair lies from now on: the columns of the index that say so."""
    image, at = pair.image, dict(_NOWHERE)
    if isinstance(image, Located):
        place = image.place
        at |= {"file": _name(place.file, roots[pair.source]), "size": image.size, "crc": image.crc}
        if isinstance(place, Span):
            at |= {"place": "file", "offset": place.offset}
        else:
            at |= {"place": "parquet", "column": place.column, "offset": place.row}
    elif isinstance(image, bytes):
        at["file"], at["offset"] = kept.append(image)
        at |= {"place": "bytes", "size": len(image), "crc": crc(image)}
    else:
        assert image is not None
        at["file"], at["offset"] = shards.append(image)
        at |= {"place": "pixels", "size": image.nbytes}
    digest = pair.pixels
    if not digest:
        assert isinstance(image, np.ndarray)
        digest = pixel_hash(image)
    return at | {"pixels": word(digest)}


def word(digest: bytes) -> int:
    """The first 64 bits of a hash, as the column `pixels` has them; 0 where there is none."""
    return int.from_bytes(digest[:8], "big")


@functools.lru_cache(maxsize=16)
def _name(file: Path, root: Path) -> str:
    """A file's path from the root on, or whole where it lies elsewhere, in ASCII."""
    path = file.relative_to(root) if file.is_relative_to(root) else file.absolute()
    return urllib.parse.quote(os.fsencode(path))


def _assert_unique(hashes: "array[int]") -> None:
    ordered = np.sort(np.frombuffer(hashes, dtype=np.uint64))
    assert (ordered[1:] != ordered[:-1]).all(), "an id comes twice"


def read_index(folder: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """One row a pair: id, caption, split, group, status, reason, source, lent, cluster, pixels, and `PLACE`.

    `cluster` is equal for copies of one another and else the pair's own. `pixels` is the beginning of the
    hash of the decoded image, 0 where none was decoded. As written; of all columns, or of those asked for:
    captions take most of the memory. Raises Refusal where the folder holds no pool.
    """
    if not (folder / INDEX).is_file():
        raise Refusal(f"{folder / INDEX} is missing; run the stage prepare.")
    return pd.read_parquet(folder / INDEX, columns=columns)


def check(folder: Path, tables_alone: bool = False) -> None:
    """Raises Refusal where a file of the pool, or of the folder that its images lie in, is not as written.

    `tables_alone`: of its files the card and the index, for who reads no image.
    """
    files.check_manifest(folder, names=(CARD, INDEX) if tables_alone else None)
    if tables_alone:
        return
    if (side := shards(folder, files.read_json(folder / CARD))) != folder:
        files.check_manifest(side)


def check_pixels(folder: Path) -> None:
    """Raises Refusal where pixels of a composed pool are not as written.

    What lies encoded anywhere has a hash in the index, which whoever reads it compares.
    """
    side = shards(folder, files.read_json(folder / CARD))
    if names := sorted(path.name for path in side.glob("images-*.npy")):
        files.check_manifest(side, names=names)


def shards(folder: Path, card: Mapping[str, Any]) -> Path:
    """Where images without files of their own lie: in the pool's folder, or beside it as its card says."""
    return folder / card["shards"] if "shards" in card else folder


def read_extra(folder: Path) -> pd.DataFrame:
    """What else a source says of pairs: id and the columns that its adapter names; no rows for most pools."""
    return read_tables(folder / EXTRA)


def usable(index: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of a split that have an image, in their order, of an index as `read_index` gives it."""
    return index[(index["split"] == split) & (index["status"] == "ok")]


def lent(folder: Path) -> dict[str, int]:
    """How many usable pairs of each split are lent to it; the index is streamed."""
    counts: Counter[str] = Counter()
    with pq.ParquetFile(folder / INDEX) as index:
        for batch in index.iter_batches(columns=["split", "status", "lent"]):
            rows = batch.to_pandas()
            counts.update(rows["split"][rows["lent"] & (rows["status"] == "ok") & (rows["split"] != "pool")])
    return dict(counts)


def distinct(folder: Path, split: str) -> int:
    """How many usable pairs a split has where copies of one another count once; the index is streamed."""
    found: set[int] = set()
    with pq.ParquetFile(folder / INDEX) as index:
        for batch in index.iter_batches(columns=["split", "status", "cluster"]):
            rows = batch.to_pandas()
            found.update(rows["cluster"][(rows["split"] == split) & (rows["status"] == "ok")])
    return len(found)


def images(folder: Path, rows: pd.DataFrame) -> NDArray[np.uint8]:
    """Images (n, resolution, resolution, 3) of n rows of the index, in their order; repeats allowed.

    `rows` has the columns `PLACE`. Reads the asked rows alone: pixels through memory maps, encoded images
    on threads, in the order in which they lie. Raises ValueError for a rejected row, and Refusal where a
    person's file is gone or holds something else than when the stage prepare read it.
    """
    kinds, names = rows["place"].to_numpy(dtype=str), rows["file"].to_numpy(dtype=str)
    if (kinds == "").any():
        raise ValueError(f"{rows['id'][kinds == ''].iloc[0]!r} was rejected and has no image")
    card = files.read_json(folder / CARD)
    folder = shards(folder, card)
    side, offsets = card["resolution"], rows["offset"].to_numpy()
    out = np.empty((len(rows), side, side, 3), dtype=np.uint8)
    pixels = kinds == "pixels"
    for name in np.unique(names[pixels]):
        here = np.flatnonzero(pixels & (names == name))
        out[here] = np.load(folder / name, mmap_mode="r")[offsets[here]]
    order = np.lexsort((offsets, names))
    here = order[~pixels[order]]
    roots = {name: Path(root) for name, root in card["roots"].items()}
    largest = _largest(card)
    places = ((row, _located(folder, roots, row)) for row in rows.iloc[here].itertuples(index=False))

    def fill(item: tuple[int, Any], content: bytes | Unreadable | None) -> None:
        number, row = item
        if isinstance(content, Unreadable):
            raise Refusal(_changed(row, str(content)))
        sound = content is not None and crc(content) == row.crc
        image = decode(content, side, largest.get(row.source, LARGEST))[0] if sound else None
        if image is None:
            raise Refusal(
                _changed(
                    row, f"{_located(folder, roots, row).file} holds another image of {one_line(row.id)}"
                )
            )
        out[number] = image

    for _ in read_each((((int(n), row), place) for n, (row, place) in zip(here, places, strict=True)), fill):
        pass
    return out


def locate(folder: Path) -> Callable[[Any], Place | None]:
    """Where the encoded image of a usable row of the index lies: a function of a row of `itertuples`.

    The row has the columns `PLACE`. None for pixels, which have no encoded image."""
    card = files.read_json(folder / CARD)
    beside, roots = shards(folder, card), {name: Path(root) for name, root in card["roots"].items()}
    return lambda row: None if row.place == "pixels" else _located(beside, roots, row)


def changed(row: Any, what: str) -> Refusal:
    """The refusal of a row of the index whose image is not, as `what` says, what the stage prepare read."""
    return Refusal(_changed(row, what))


def _largest(card: Mapping[str, Any]) -> dict[str, int]:
    """Of each source the key largest, by which it was decoded: a large JPEG has other pixels with another."""
    blocks = {card.get("pool"): card} | card.get("others", {})
    return {name: block.get("settings", {}).get("largest", LARGEST) for name, block in blocks.items()}


def ahead(folder: Path, tables: Iterable[pd.DataFrame]) -> Iterator[NDArray[np.uint8]]:
    """The images of each of some tables (n, `PLACE`); the next are read while the last are in use."""
    with ThreadPoolExecutor(1) as reader:
        waiting: Future[NDArray[np.uint8]] | None = None
        for rows in tables:
            following = reader.submit(images, folder, rows)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


def parts(folder: Path, splits: tuple[str, ...], size: int, columns: list[str]) -> Iterator[pd.DataFrame]:
    """Some columns and `split` of the usable rows of some splits, `size` at a time; last what is left."""
    read = list(dict.fromkeys(["split", "status", *columns]))
    waiting: list[pd.DataFrame] = []
    with pq.ParquetFile(folder / INDEX) as index:
        for batch in index.iter_batches(size, columns=read):
            rows = batch.to_pandas()
            waiting.append(rows[(rows["status"] == "ok") & rows["split"].isin(splits)])
            if sum(map(len, waiting)) >= size:
                whole = pd.concat(waiting, ignore_index=True)
                yield whole.iloc[:size]
                waiting = [whole.iloc[size:]]
    if sum(map(len, waiting)):
        yield pd.concat(waiting, ignore_index=True)


def rows(folder: Path, splits: tuple[str, ...], columns: list[str]) -> pd.DataFrame:
    """Some columns (`id` too) and `split` of all usable rows of splits that are small beside the pool.

    In the order of a hash of their ids; their labels number them in the order of the files, see `forward`.
    """
    found = list(parts(folder, splits, _ROWS, columns))
    table = pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=["split", *columns])
    return table.iloc[stateless.id_order(table["id"])]


def forward(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Places of rows of `rows` in the order of the files, in which images are read fastest."""
    return np.argsort(rows.index.to_numpy(), kind="stable")


def _located(folder: Path, roots: Mapping[str, Path], row: Any) -> Place:
    """The place that a row of the index speaks of."""
    root = folder if row.place == "bytes" else roots[row.source]
    file = root / os.fsdecode(urllib.parse.unquote_to_bytes(row.file))
    if row.place == "parquet":
        return Cell(file, row.column, row.offset)
    return Span(file, row.offset, row.size)


def _changed(row: Any, what: str) -> str:
    return (
        f"{what}; the stage prepare found it otherwise when it read the pool {row.source}: put the file "
        "back, or run dvc repro --force prepare."
    )
