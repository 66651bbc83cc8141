"""The stage prepare over files that are larger than its memory may be: python -m torture.memory FOLDER.

Each case is a pool of giants with ordinary pairs beside them, read in a process of its own by eight threads.
Its peak is the kernel's high-water mark (VmHWM), so this runs on Linux alone.
"""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from alchemist.core import files
from alchemist.params.sources import sources
from alchemist.pools import base

MOST = 600  # MB
GOOD = 20  # ordinary pairs of each case
_MB = 1_000_000
_PROMISE = f"prepare stays under {MOST} MB"
_CHILD = """
import json, os, sys
os.cpu_count = lambda: 8
from pathlib import Path
import stages
from stages import prepare
prepare.run("mine", Path("read"), Path("truth"), Path("time.json"))
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
card = json.loads(Path("read/card.json").read_text())
Path("peak.json").write_text(json.dumps([int(status["VmHWM"].split()[0]) * 1024, card["counts"]["pool"]]))
"""
Case = tuple[str, Callable[[Path], dict[str, int]]]  # the pool's format; writes it, gives the wanted counts


def run(folder: Path) -> list[dict[str, Any]]:
    """A row a case of `CASES`."""
    return [row(folder / str(number), name) for number, name in enumerate(CASES)]


def row(folder: Path, name: str) -> dict[str, Any]:
    """What was promised, the case, its peak, seconds and outcomes, and whether it holds."""
    source, write = CASES[name]
    (folder / "pool").mkdir(parents=True)
    (folder / "data").mkdir()
    wanted = write(folder / "pool")
    splits = dict.fromkeys(("meta_validation", "evaluation", "scorer"), 0.0)
    block = {"format": source, "path": "pool", "resolution": 64, "splits": splits}
    params = {"pools": {"mine": block}, "sources": sources({"mine": block}), "device": "cpu"}
    files.write_json(folder / "data/params.json", files.sealed(params))
    started = time.perf_counter()
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], cwd=folder, env=here, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
        figure, holds = told, False
    else:
        peak, counts = json.loads((folder / "peak.json").read_text())
        outcome = ", ".join(f"{count:,} x {reason}" for reason, count in sorted(counts.items()))
        figure, holds = (
            f"{peak / _MB:.0f} MB, {seconds:.1f} s: {outcome}",
            peak < MOST * _MB and counts == wanted,
        )
        if counts != wanted:
            figure += f" (for {wanted})"
    shutil.rmtree(folder)
    return {"promise": _PROMISE, "case": name, "figure": figure, "holds": holds}


# ---------------------------------------------------------------------- what the cases hold


def _ordinary(number: int) -> bytes:
    """A small picture, another for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    return _encoded(Image.fromarray(pixels), "PNG")


def _encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def _pair(root: Path, name: str, content: bytes, suffix: str = "png") -> None:
    (root / f"{name}.{suffix}").write_bytes(content)
    (root / f"{name}.txt").write_text(f"words of {name}")


def _beside(root: Path) -> dict[str, int]:
    """Ordinary pairs as files."""
    for number in range(GOOD):
        _pair(root, f"good{number:02d}", _ordinary(number))
    return {"ok": GOOD}


def _solid(side: int, kind: int, channels: int, depth: int = 8) -> bytes:
    """A black PNG, written row by row."""
    packed, row = zlib.compressobj(1), bytes(1 + side * channels * depth // 8)
    content = b"".join(packed.compress(row) for _ in range(side)) + packed.flush()
    head = struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", content), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def _many(root: Path, content: bytes, count: int, suffix: str, reason: str) -> dict[str, int]:
    wanted = Counter(_beside(root))
    for number in range(count):
        _pair(root, f"big{number}", content, suffix)
    return dict(wanted + Counter({reason or "ok": count}))


def _bombs(root: Path) -> dict[str, int]:
    return _many(root, _solid(13_300, 6, 4), 4, "png", base.TOO_LARGE)


def _just_below(root: Path) -> dict[str, int]:
    return _many(root, _solid(6_600, 6, 4), 16, "png", "")


def _photographs(root: Path) -> dict[str, int]:
    smooth = Image.effect_noise((500, 500), 60).convert("RGB")
    return _many(root, _encoded(smooth.resize((10_000, 10_000)), "JPEG", quality=80), 6, "jpg", "")


def _progressive(root: Path) -> dict[str, int]:
    smooth = Image.effect_noise((300, 300), 60).convert("RGB").resize((4800, 4800))
    return _many(root, _encoded(smooth, "JPEG", progressive=True), 16, "jpg", "")


def _webp(root: Path) -> dict[str, int]:
    smooth = Image.effect_noise((300, 300), 60).convert("RGB").resize((3200, 3200))
    return _many(root, _encoded(smooth, "WEBP", method=0), 16, "webp", "")


def _turned(root: Path) -> dict[str, int]:
    exif = Image.Exif()
    exif[0x0112] = 6
    smooth = Image.effect_noise((300, 300), 60).convert("RGB").resize((6400, 6000))
    return _many(root, _encoded(smooth, "JPEG", exif=exif), 16, "jpg", "")


def _bitmaps(root: Path) -> dict[str, int]:
    smooth = Image.effect_noise((300, 300), 60).convert("RGB").resize((4800, 4800))
    return _many(root, _encoded(smooth, "BMP"), 16, "bmp", "")


def _ancillary(root: Path) -> dict[str, int]:
    content = _ordinary(1)
    body = b"prVt" + bytes(95 * _MB)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return _many(root, content[:33] + chunk + content[33:], 8, "png", "")


def _sparse_files(root: Path) -> dict[str, int]:
    wanted = _beside(root)
    _pair(root, "sidecar", _ordinary(99))
    os.truncate(root / "sidecar.txt", 1_500 * _MB)
    _pair(root, "image", _ordinary(98))
    os.truncate(root / "image.png", 3_000 * _MB)
    return wanted | {base.LONG_CAPTION: 1, base.TOO_LARGE: 1}


def _captions(root: Path) -> dict[str, int]:
    for number in range(600):
        _pair(root, f"words{number}", _ordinary(number))
        (root / f"words{number}.txt").write_text("\U0001f600" * 99_000 + str(number), "utf-8")
    return {"ok": 600}


def _table(root: Path) -> dict[str, int]:
    wanted = _beside(root)
    rows = [f"good{number:02d}.png,words" for number in range(GOOD)]
    (root / "metadata.csv").write_text("file_name,caption\n" + "\n".join(rows[:9]) + "\n")
    os.truncate(root / "metadata.csv", 1_000 * _MB)  # a line of zeros
    with (root / "metadata.csv").open("a") as file:
        file.write("\n" + "\n".join(rows[9:]))
    (root / "more").mkdir()
    (root / "more/metadata.jsonl").write_text("{}\n")
    os.truncate(root / "more/metadata.jsonl", 1_000 * _MB)
    return wanted | {base.UNREADABLE_METADATA: 2, base.MISSING_IMAGE: 1}


def _nested(root: Path) -> dict[str, int]:
    wanted = _beside(root)
    (root / "more").mkdir()
    line = "[" + ",".join(["{}"] * 330_000) + "]\n"
    (root / "more/metadata.jsonl").write_text(line * 8)
    return wanted | {base.UNREADABLE_METADATA: 8}


def _tar_pairs(tar: tarfile.TarFile, name: str) -> None:
    for number in range(GOOD):
        _member(tar, f"{name}{number:02d}.png", _ordinary(number))
        _member(tar, f"{name}{number:02d}.txt", f"words of {name} {number}".encode())


def _member(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


def _raw(tar: tarfile.TarFile, header: bytes) -> None:
    assert tar.fileobj is not None
    tar.fileobj.write(header)
    tar.offset += len(header)


def tar_sum(header: bytes) -> bytes:
    """What stands in the eight bytes from 148 on of a header of a tar."""
    return b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * ord(" "))


def _tars(root: Path) -> dict[str, int]:
    with tarfile.open(root / "a.tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for number, suffix in enumerate(("png", "txt", "json")):
            info = tarfile.TarInfo(f"sparse{number}.{suffix}")
            info.type = tarfile.GNUTYPE_SPARSE
            head = bytearray(info.tobuf(tarfile.GNU_FORMAT))
            head[483:495] = b"%011o\0" % (3_000 * _MB)  # the size that it claims
            head[148:156] = tar_sum(bytes(head))
            _raw(tar, bytes(head))
            _member(tar, f"sparse{number}.{'txt' if suffix == 'png' else 'png'}", b"words")
        _tar_pairs(tar, "good")
    for name, kind in (("b", tarfile.REGTYPE), ("c", tarfile.GNUTYPE_LONGNAME), ("d", tarfile.XHDTYPE)):
        with tarfile.open(root / f"{name}.tar", "w", format=tarfile.GNU_FORMAT) as tar:
            _tar_pairs(tar, "good")
            info = tarfile.TarInfo("claims.txt")
            info.type, info.size = kind, 8 << 30
            _raw(tar, info.tobuf(tarfile.GNU_FORMAT))
            end = tar.offset
        os.truncate(root / f"{name}.tar", end if name != "c" else 9 << 30)  # in one of them, truly there
    return {"ok": 4 * GOOD, base.TRUNCATED_TAR: 3, base.SPARSE: 3}


def _parquet(path: Path, image: list[bytes], caption: list[str], **options: Any) -> None:
    pq.write_table(pa.table({"image": image, "caption": caption}), path, **options)


def _dictionary(root: Path) -> dict[str, int]:
    image = pa.array([b"x" * 40 * _MB] * 64, pa.large_binary())  # of one piece, or the dictionary is left
    pq.write_table(pa.table({"image": image, "caption": ["words"] * 64}), root / "a.parquet")
    _parquet(root / "b.parquet", [_ordinary(i) for i in range(GOOD)], ["words"] * GOOD)
    return {base.UNREADABLE_IMAGE: 64, "ok": GOOD}


def _pages(root: Path) -> dict[str, int]:
    """Pages of a gigabyte that compress well, between row groups that are read; and a caption of as much."""
    schema = pa.schema([("image", pa.binary()), ("caption", pa.string())])
    good = pa.table([[_ordinary(i) for i in range(GOOD)], ["words"] * GOOD], schema)
    value = b"x" * _MB
    with pq.ParquetWriter(root / "a.parquet", schema, use_dictionary=False, compression="zstd") as file:
        file.write_table(good)
        file.write_table(pa.table([[value] * 1000, ["words"] * 1000], schema))
        file.write_table(good)
        file.write_table(pa.table([[_ordinary(1)], ["x" * 1000 * _MB]], schema))
        file.write_table(good)
    return {base.HEAVY_ROWS: 1001, "ok": 3 * GOOD}


def _usual_pages(root: Path) -> dict[str, int]:
    """Two files of photographs of 65 kB, with pages of 1,024 rows, as Arrow writes them."""
    noise = np.random.default_rng(0)
    for name in "ab":
        images = [
            _encoded(Image.fromarray(noise.integers(0, 256, (144, 150, 3), dtype=np.uint8)), "PNG")
            for _ in range(3000)
        ]
        _parquet(root / f"{name}.parquet", images, [f"words {i}" for i in range(3000)])
    return {"ok": 6000}


def _pages_and_giants(root: Path) -> dict[str, int]:
    """A dictionary of 110 MB, images of 175 MB when decoded among its values."""
    noise, large = np.random.default_rng(0), _solid(6_600, 6, 4)
    images = [_ordinary(i) + noise.bytes(105_000) for i in range(1000)]
    for place in range(0, 1000, 80):
        images.insert(place, large)
    images[:0] = [images[1]]
    _parquet(root / "a.parquet", images, [f"words {i}" for i in range(len(images))])
    return {"ok": len(images)}


def _tags(root: Path) -> dict[str, int]:
    """TIFFs whose only strips are said to begin at 20 million places."""
    entries = [(256, 4, 1, 20), (257, 4, 1, 20), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 20 * _MB, 200)]
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    content = b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(90 * _MB)
    return _many(root, content, 4, "tif", base.TOO_LARGE)


def _data_set(root: Path) -> dict[str, int]:
    """A data set of 800 MB, whose library maps its files into memory."""
    import datasets

    noise = np.random.default_rng(0).integers(0, 256, (360, 360, 3), dtype=np.uint8)
    picture = _encoded(Image.fromarray(noise), "PNG")
    rows = ({"image": {"bytes": picture, "path": None}, "caption": f"words {i}"} for i in range(2000))
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory(dir=root.parent) as cache:
        made = datasets.Dataset.from_generator(
            lambda: rows, features=features, cache_dir=cache, fingerprint="a"
        )
        made.save_to_disk(root, num_shards=1)
    return {"ok": 2000}


def _one_value(root: Path) -> dict[str, int]:
    """Values of 95 MB, each in a page of its own: images of as many bytes would be legal."""
    content = _ordinary(1) + bytes(95 * _MB)
    _parquet(root / "a.parquet", [content] * 6, ["words"] * 6, use_dictionary=False, row_group_size=1)
    return {"ok": 6}


CASES: dict[str, Case] = {
    "four PNGs of 13,300 x 13,300 with alpha": ("folder", _bombs),
    "16 PNGs of 6,600 x 6,600 with alpha": ("folder", _just_below),
    "6 JPEGs of 100 megapixels": ("folder", _photographs),
    "16 progressive JPEGs of 23 megapixels": ("folder", _progressive),
    "16 JPEGs of 38 megapixels, turned": ("folder", _turned),
    "16 WebPs of 10 megapixels": ("folder", _webp),
    "16 bitmaps of 23 megapixels": ("folder", _bitmaps),
    "8 PNGs with a chunk of 95 MB": ("folder", _ancillary),
    "a caption of 1.5 GB, an image file of 3 GB": ("folder", _sparse_files),
    "600 captions of 99,000 characters of 4 bytes": ("folder", _captions),
    "a line of 1 GB in CSV and in JSON lines": ("folder", _table),
    "lines of a million brackets": ("folder", _nested),
    "tars: sparse members of 3 GB, headers of 8 GiB": ("webdataset", _tars),
    "parquet: 64 rows of one value of 40 MB": ("parquet", _dictionary),
    "parquet: pages and a caption of 1 GB": ("parquet", _pages),
    "parquet: pages of 67 MB of photographs": ("parquet", _usual_pages),
    "4 TIFFs of 20 million strips": ("folder", _tags),
    "parquet: pages of 110 MB with PNGs of 6,600 x 6,600 in them": ("parquet", _pages_and_giants),
    "huggingface: a data set of 800 MB": ("huggingface", _data_set),
    "parquet: images of 95 MB": ("parquet", _one_value),
}


def main() -> int:
    """Prints a line a case, of those whose names hold one of the words; 1 where one does not hold."""
    folder, *words = sys.argv[1:]
    holds = True
    for name in [name for name in CASES if not words or any(word in name for word in words)]:
        found = row(Path(folder) / "case", name)
        holds &= found["holds"]
        print("holds" if found["holds"] else "FAILS", name, "-", found["figure"], flush=True)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
