"""Pairs written as a person's own files would lie: the layouts that the adapters of the same names read.

Equal pairs in an equal order give equal bytes. Read again, all give the same ids, captions and pixels.
"""

import csv
import io
import itertools
import json
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROW_GROUP = 512  # rows: few enough to read one for a few of its pairs


@dataclass(frozen=True)
class Pair:
    """A pair and its category. The id is FOLDER/NAME, of characters that a file name may have."""

    id: str
    caption: str
    category: str
    image: bytes  # a PNG


class Layout(StrEnum):
    """How pairs lie on a disk."""

    FOLDER = "folder"  # FOLDER/NAME.png, and metadata.csv with the captions in the order of the pairs
    WEBDATASET = "webdataset"  # FOLDER.tar with NAME.png and NAME.json: of each the pairs in their order
    PARQUET = "parquet"  # one file with the columns id, caption, category, image


def write(pairs: Iterable[Pair], layout: Layout, folder: Path) -> int:
    """Writes all pairs below an empty folder, one at a time in memory or a row group; tells how many."""
    return {Layout.FOLDER: _folder, Layout.WEBDATASET: _tars, Layout.PARQUET: _parquet}[layout](pairs, folder)


def _folder(pairs: Iterable[Pair], folder: Path) -> int:
    count = 0
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["file_name", "caption", "category"])
        for count, pair in enumerate(pairs, 1):
            path = folder / f"{pair.id}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(pair.image)
            table.writerow([f"{pair.id}.png", pair.caption, pair.category])
    return count


def _tars(pairs: Iterable[Pair], folder: Path) -> int:
    tars: dict[str, tarfile.TarFile] = {}
    count = 0
    with ExitStack() as stack:
        for count, pair in enumerate(pairs, 1):
            group, _, name = pair.id.partition("/")
            if group not in tars:
                tars[group] = stack.enter_context(tarfile.open(folder / f"{group}.tar", "w"))
            words = json.dumps({"caption": pair.caption, "category": pair.category}, ensure_ascii=False)
            for suffix, content in (("png", pair.image), ("json", words.encode())):
                member = tarfile.TarInfo(f"{name}.{suffix}")  # without a time or an owner
                member.size = len(content)
                tars[group].addfile(member, io.BytesIO(content))
                tars[group].members = []  # type: ignore[attr-defined] # or it grows with every member
    return count


def _parquet(pairs: Iterable[Pair], folder: Path) -> int:
    schema = pa.schema(
        {"id": pa.string(), "caption": pa.string(), "category": pa.string(), "image": pa.binary()}
    )
    count, waiting = 0, iter(pairs)
    with pq.ParquetWriter(folder / "pairs.parquet", schema) as file:
        while rows := [asdict(pair) for pair in itertools.islice(waiting, ROW_GROUP)]:
            file.write_table(pa.Table.from_pylist(rows, schema))
            count += len(rows)
    return count
