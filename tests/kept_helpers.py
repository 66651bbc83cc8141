"""Small selections: pairs of a person's files of some formats, of which some are kept."""

import json
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
from pool_helpers import encoded, picture, user_pool, write_pair, write_tar

from alchemist.core import files
from alchemist.kept import offsets
from alchemist.kept.offsets import Kept
from alchemist.pools.place import Span
from alchemist.pools.read import roots, rows
from alchemist.pools.row import crc

FORMATS = ["webdataset", "parquet", "folder"]
COUNT = 60


def image(number):
    """The bytes of a picture as it lies in every format; sizes differ."""
    return encoded(picture(number, (8 + number % 5, 9)))


def make(root, source, count=COUNT):
    """Pairs in three files, or as files of their own: tars as img2dataset leaves them, small row groups."""
    for part in range(3):
        numbers = range(part * count // 3, (part + 1) * count // 3)
        if source == "folder":
            for i in numbers:
                write_pair(root, f"a b/größe {i:04d}", f"caption {i}", i)
                (root / f"a b/größe {i:04d}.png").write_bytes(image(i))
        elif source == "webdataset":
            parts = []
            for i in numbers:
                fact = json.dumps({"caption": f"caption {i}", "key": f"{i:04d}"}).encode()
                content = {"jpg": image(i), "json": fact, "txt": f"caption {i}".encode()}
                parts += [(f"{i:04d}.{suffix}", each) for suffix, each in content.items()]
            write_tar(root / f"{part:05d}.tar", parts)
        else:
            root.mkdir(exist_ok=True)
            table = {"image": [image(i) for i in numbers], "caption": [f"caption {i}" for i in numbers]}
            pq.write_table(pa.table(table), root / f"{part}.parquet", row_group_size=6)


def found(root, source):
    """All pairs of a pool as kept ones, in the order of the index."""
    pool = user_pool(root, source)
    for number, row in enumerate(rows(pool, 1, "mine")):
        assert not row.reason
        place = row.image.place
        if isinstance(place, Span):  # of a file of its own it may be left open
            place = replace(place, size=row.image.size)
        yield Kept(row.id, row.caption, number / 7, place, row.image.size, row.image.crc)


def select(folder, pairs, tops):
    """Writes a selection of pairs; returns them."""
    pairs = list(pairs)
    with files.whole_folder(folder) as draft:
        assert offsets.write(draft, iter(pairs), tops) == len(pairs)
    return pairs


def selection(tmp_path, source, keep=lambda number: number % 3 != 1):
    """Makes a pool in tmp_path/mine, keeps some of it in tmp_path/kept; returns the kept pairs."""
    make(tmp_path / "mine", source)
    pairs = [pair for number, pair in enumerate(found(tmp_path / "mine", source)) if keep(number)]
    return select(tmp_path / "kept", pairs, roots(user_pool(tmp_path / "mine", source), "mine"))


def many(tmp_path, count):
    """So many kept pairs without so many images: all lie at one place of one file."""
    (tmp_path / "one.bin").write_bytes(b"the image")
    one = Kept("", "some caption", 0.5, Span(tmp_path / "one.bin", 4, 5), 5, crc(b"image"))
    return (replace(one, id=f"id-{number}") for number in range(count))


def number_of(item):
    """Of which picture a caption speaks."""
    return int(item["caption"].removeprefix("caption "))
