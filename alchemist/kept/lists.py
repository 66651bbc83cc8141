"""Kept ids as lists for other tools; no image is read and no file of a person's rewritten."""

import json
import os
import re
import urllib.parse
from collections import Counter
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import files, tables
from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.kept import offsets
from alchemist.kept.outcome import KEPT, Selected
from alchemist.pools import webdataset
from alchemist.pools.base import walk
from alchemist.pools.place import Span
from alchemist.pools.store import CARD, PLACE, changed, locate

_WORD = pa.dictionary(pa.int32(), pa.string())  # few values, many rows
_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("outcome", _WORD), ("why", _WORD), ("rating", pa.float64()),
        ("percentile", pa.float64()), ("split", _WORD), ("caption", pa.string()),
    ]
)  # fmt: skip
_UID = re.compile(r"[0-9a-fA-F]{32}")
# WebDataset's: what it skips, and the key and the suffix of a name.
_META, _KEY = re.compile(r"__[^/]*__($|/)"), re.compile(r"((?:.*/|)[^/.]+)[.]([^/]*)", re.DOTALL)
_ROWED = ("parquet", "huggingface")  # formats of pools whose pairs are rows


def kept_rows(selected: Selected, columns: tuple[str, ...] = ()) -> Iterator[Any]:
    """The kept rows of the index in their order: id, `columns`, rating and percentile by name."""
    for rows in selected.rows(columns):
        yield from rows[rows["outcome"] == KEPT].itertuples(index=False)


def parquet(selected: Selected, folder: Path) -> None:
    """pairs.parquet: every pair of the pool with its outcome and why, in row groups; read by parts."""
    schema = _SCHEMA.with_metadata({tables.ROWS: str(selected.pairs())})
    with pq.ParquetWriter(folder / "pairs.parquet", schema, write_page_checksum=True) as file:
        for rows in selected.rows(("caption",)):
            table = pa.Table.from_pandas(rows[_SCHEMA.names], _SCHEMA, preserve_index=False)
            file.write_table(table.replace_schema_metadata(schema.metadata))


def datacomp(selected: Selected, folder: Path) -> None:
    """kept.npy: sorted pairs of 64-bit halves of the uids, as DataComp's resharder takes a subset.

    Source: mlfoundations/datacomp. Raises Refusal where an id is no uid of 32 hexadecimal digits.
    """
    found = np.empty(int(selected.verdicts.kept.sum()), dtype="u8,u8")
    for number, row in enumerate(kept_rows(selected)):
        name = row.id
        if not _UID.fullmatch(name):
            raise Refusal(
                f"the id '{one_line(name)}' is no uid of 32 hexadecimal digits, which format datacomp "
                "lists; in a pool of format laion, columns.sha256 may name the column uid."
            )
        found[number] = int(name[:16], 16), int(name[16:], 16)
    np.save(folder / "kept.npy", np.sort(found))


def keys(selected: Selected, folder: Path) -> None:
    """keys.jsonl: a line a tar, its path below the pool's and its kept keys, for webdataset.select.

    Raises Refusal where the pool's images lie in no tars, or a tar is not what stage prepare read.
    """
    where = locate(selected.pool)
    spans = ((row, where(row)) for row in kept_rows(selected, tuple(PLACE)))
    with (folder / "keys.jsonl").open("w", encoding="utf-8") as file:
        for tar, members in groupby(spans, lambda item: item[1].file if isinstance(item[1], Span) else None):
            rows = [(row, place) for row, place in members if isinstance(place, Span)]
            if tar is None or tar.suffix.lower() != ".tar":
                raise Refusal(
                    "the images lie in no tars, whose keys format webdataset lists; formats parquet, folder "
                    "and tars are legal for every pool."
                )
            line = {"tar": _named(rows[0][0].file), "keys": _keys(tar, rows)}
            file.write(
                json.dumps(line) + "\n"
            )  # in ASCII: names of bytes that are no UTF-8 come back as they are


def _named(file: str) -> str:
    """A file of the index by its own name, as Python gives it."""
    return os.fsdecode(urllib.parse.unquote_to_bytes(file))


def _keys(tar: Path, rows: list[tuple[Any, Span]]) -> list[str]:
    """The keys of members of a tar, by which WebDataset knows their pairs: an id may be another name.

    WebDataset makes a pair of neighbours with one key. Raises Refusal where a kept key has members elsewhere,
    too, or twice of one suffix, so that it would give another pair by it, or half a one.
    """
    wanted = {place.offset for _, place in rows}
    found: dict[int, str] = {}
    groups, last = Counter[str](), ""
    seen: set[str] = set()  # suffixes of the group
    spoilt: set[str] = set()
    for name, offset in webdataset.names(tar) if tar.is_file() else ():
        match = None if _META.match(name) else _KEY.fullmatch(name)
        if match is None:
            continue
        key, suffix = match[1], match[2].lower()
        if key != last:
            groups[key] += 1
            last, seen = key, set()
        spoilt |= {key} if suffix in seen else set()
        seen.add(suffix)
        if offset in wanted:
            found[offset] = key
    for row, place in rows:
        if place.offset not in found:
            raise changed(row, f"{tar} has no member at byte {place.offset} that WebDataset reads")
        key = found[place.offset]
        if groups[key] > 1 or key in spoilt:
            raise Refusal(
                f"{tar} has members of the key '{one_line(key)}' in several places, of which WebDataset "
                "makes several pairs; formats parquet, folder, tars and loader are legal."
            )
    return [found[place.offset] for _, place in rows]


def loader(selected: Selected, folder: Path) -> None:
    """The index of `alchemist.kept.loader.KeptPairs`: where each kept pair lies in a person's own files.

    Raises Refusal where no pair is kept, or images have no file, as those of a composed pool.
    """
    card, where = files.read_json(selected.pool / CARD), locate(selected.pool)
    roots = {name: Path(root) for name, root in card["roots"].items()}

    def pairs() -> Iterator[offsets.Kept]:
        for row in kept_rows(selected, (*PLACE, "caption")):
            place = where(row)
            if place is None:
                raise Refusal(
                    f"the image of '{one_line(row.id)}' was composed and lies in no file, as format loader "
                    "needs; parquet, folder and tars are legal for every pool."
                )
            yield offsets.Kept(row.id, row.caption, row.rating, place, row.size, row.crc)

    offsets.write(folder, pairs(), roots)


def indices(selected: Selected, folder: Path) -> None:
    """indices.npy: row numbers, ascending, for Dataset.select of the data set that the pool was read from.

    Of a folder of parquet files they count through all files in the order of their names. Raises Refusal
    for a pool of another format, or files whose rows cannot be counted so.
    """
    card = files.read_json(selected.pool / CARD)
    kind = card.get("settings", {}).get("format")
    if kind not in _ROWED:
        raise Refusal(
            f"the pool {card.get('pool', '')} is of format {kind}, whose pairs are no rows of a data set; "
            f"format indices is for {' and '.join(_ROWED)}; parquet, folder and tars are for every pool."
        )
    found, count = [], 0
    for rows in selected.rows(("source",)):
        own = rows[rows["source"] == card["pool"]]  # each row of the data set is one of the index
        found.append(count + np.flatnonzero(own["outcome"] == KEPT))
        count += len(own)
    if kind == "parquet":
        _check_rows(Path(card["settings"]["path"]), count)
    np.save(folder / "indices.npy", np.concatenate(found))


def _check_rows(root: Path, count: int) -> None:
    """Refuses parquet files that another reader would count otherwise than the index does."""
    paths = [path for path in walk(root) if path.suffix.lower() == ".parquet"] if root.is_dir() else [root]
    if any(path.parent != root for path in paths if root.is_dir()):
        raise Refusal(
            f"{root} has parquet files in folders of their own, whose order readers do not agree on; format "
            "indices is for files side by side, and formats parquet, folder and tars are legal."
        )
    try:
        there = sum(pq.read_metadata(path).num_rows for path in paths)
    except (pa.ArrowException, OSError) as error:
        raise Refusal(
            f"a parquet file in {root} cannot be read ({str(error).splitlines()[0]}), so that rows behind it "
            "have no number; formats parquet, folder and tars are legal."
        ) from None
    if there != count:
        raise Refusal(
            f"the parquet files in {root} have {there:,} rows, and the pool {count:,}; put back what the "
            "stage prepare read, or run dvc repro --force prepare."
        )
