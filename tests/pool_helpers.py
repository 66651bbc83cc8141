"""Small pools of every format, and what becomes of their pairs."""

import contextlib
import io
import tarfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from alchemist.core import files
from alchemist.core.stateless import generator
from alchemist.params.sources import sources
from alchemist.pools.read import pool_settings, records
from alchemist.pools.store import Row, read_index

NO_SPLITS = {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0}


def user_pool(path, source="folder", **changes):
    """Settings of a pool of a person's own files, all pairs in the split pool."""
    block = {
        "format": source,
        "path": str(path),
        "resolution": 16,
        "seed": 0,
        "splits": NO_SPLITS,
        "copies": {"find": False},  # equal pixels alone: no network is loaded
        "licence": "ours",
    }
    return pool_settings({**block, **changes}, "pools.mine")


def settled(folder, pool, **others):
    """The index that the stages prepare and copies leave in data/pool of a folder, for the pool `mine`."""
    from stages import copies, prepare  # torch, which most tests of pools do without

    pools = {name: one.model_dump() for name, one in {"mine": pool, **others}.items()}
    params = {"pools": pools, "sources": sources(pools), "device": "cpu"}
    files.write_json(folder / "data/params.json", files.sealed(params))
    with contextlib.chdir(folder):
        clock = Path("data/time.json")
        took = prepare.run("mine", Path("data/read"), Path("data/truth"), clock)
        files.write_json(Path("data/timings/prepare.json"), files.sealed(took))
        copies.run("mine", Path("data/read"), Path("data/pool"), clock)
    return read_index(folder / "data/pool")


def emoji_pool(**changes):
    """Settings of a small composed pool of 1,070 pairs."""
    block = {
        "format": "emoji",
        "seed": 0,
        "resolution": 16,
        "concepts": 6,
        "shares": {
            "informative": 0.3,
            "plain": 0.3,
            "chaotic": 0.1,
            "mismatched": 0.1,
            "degraded": 0.1,
            "duplicate": 0.1,
        },
        "pairs": 700,
        "meta_validation": {"pairs": 300, "source": "mixture"},
        "evaluation": {"pairs": 40},
        "scorer": {"pairs": 30},
        "shard_pairs": 256,
    }
    return pool_settings({**block, **changes}, "pools.emoji")


def picture(number=0, size=(20, 24)):
    """Noise of (height, width), another for each number."""
    pixels = generator("test", number).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image, kind="PNG", **options):
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png_header(width, height):
    """A PNG whose header claims a size, with too few pixels behind it."""
    small = bytearray(encoded(Image.new("L", (1, 1))))
    small[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    small[29:33] = zlib.crc32(bytes(small[12:29])).to_bytes(4, "big")
    return bytes(small)


def write_pair(folder, name, caption, number, suffix=".png"):
    """An image file with its sidecar caption, or without one where `caption` is None."""
    path = Path(folder, name + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(picture(number), "JPEG" if suffix == ".jpg" else suffix[1:].upper()))
    if caption is not None:
        path.with_name(Path(name).name + ".txt").write_text(caption, encoding="utf-8")


def write_tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def members(start, count):
    """Members of a tar: pairs of an image and a text."""
    return [
        member
        for i in range(start, start + count)
        for member in ((f"{i:04d}.png", encoded(picture(i))), (f"{i:04d}.txt", f"caption {i}".encode()))
    ]


def outcomes(pool):
    """Reason by id; a usable pair has an image, a rejected one none."""
    found = {}
    for record in records(pool):
        assert record.id not in found
        assert (record.image is None) == bool(record.reason)
        found[record.id] = record.reason
    return found


def some_rows(count, split="pool", start=0, resolution=16):
    """Rows on their way into the store: noise, with planted kinds that take turns."""
    for i in range(start, start + count):
        image = generator("store", i).integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
        yield Row(f"id-{i}", f"größe {i}", split, f"group-{i}", image, "", "plain" if i % 2 else "chaotic")
