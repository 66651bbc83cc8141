"""Rates at which the pools' adapters read, beside bare loops over the same files that decode with Pillow.

    python -m benchmarks adapters
    python -m benchmarks.adapters [IMAGES]  # peak memory of a process that reads a shard of 10,000, and four

Ours is what the stage prepare draws from (`alchemist.pools.read.rows`): pairs with their split, ids and
repeats checked, each image read, decoded, cropped and resized. A bare loop decodes, crops and resizes alike,
and checks nothing. Each has one core, and one thread that decodes.
"""

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image

from alchemist.core import stateless
from alchemist.pools.read import pool_settings, rows
from benchmarks import given
from benchmarks.contest import Contestant, medians
from benchmarks.ratio import Ratio

IMAGES = given.sized(128, 16)
SIZE, RESOLUTION = (384, 320), 256  # (width, height) and pixels of a side
Pairs = Iterator[tuple[str, NDArray[np.uint8]]]  # captions and pixels (RESOLUTION, RESOLUTION, 3)


def jpeg(number: int) -> bytes:
    """Smooth noise of the size of a picture of the web: some 30 KB."""
    noise = stateless.generator("adapters", number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).resize(SIZE, Image.Resampling.BICUBIC).save(file, "JPEG", quality=95)
    return file.getvalue()


def pixels(source: bytes | Path) -> NDArray[np.uint8]:
    """The centre square of an encoded image, as the pools have it."""
    with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
        picture = opened.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture.resize((RESOLUTION, RESOLUTION), Image.Resampling.LANCZOS))


# ---------------------------------------------------------------------- a format's files, and a bare loop


def write_folder(root: Path) -> None:
    """Images and a metadata.csv."""
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file_name", "caption"])
        for i in range(IMAGES):
            (root / f"{i:05d}.jpg").write_bytes(jpeg(i))
            writer.writerow([f"{i:05d}.jpg", f"caption {i}"])


def bare_folder(root: Path) -> Pairs:
    """The lines of metadata.csv."""
    with (root / "metadata.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            yield line["caption"], pixels(root / line["file_name"])


def write_tar(root: Path, with_json: bool = False) -> None:
    """Two tars; of img2dataset with a JSON a pair and a parquet file a tar."""
    for shard in range(2):
        tar_shard(root, shard, IMAGES // 2, with_json)


def tar_shard(root: Path, shard: int, images: int, with_json: bool) -> None:
    """One of the tars."""
    facts = []
    with tarfile.open(root / f"{shard:05d}.tar", "w") as tar:
        for i in range(shard * images, (shard + 1) * images):
            key = f"{shard:05d}{i:04d}"
            fact = {"url": f"https://example.org/{i}.jpg", "caption": f"caption {i}", "key": key}
            facts.append(fact | {"status": "success", "sha256": f"{i:064x}", "similarity": 0.3})
            members = {"jpg": jpeg(i), "txt": f"caption {i}".encode()}
            if with_json:
                members["json"] = json.dumps(facts[-1], indent=4).encode()
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    if with_json:
        pq.write_table(pa.Table.from_pylist(facts), root / f"{shard:05d}.parquet")


def bare_tar(root: Path) -> Pairs:
    """Neighbouring members of the tars."""
    for path in sorted(root.glob("*.tar")):
        with tarfile.open(path) as tar:
            picture = b""
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                if member.name.endswith(".jpg"):
                    picture = file.read()
                elif member.name.endswith(".txt"):
                    yield file.read().decode(), pixels(picture)


def write_laion(root: Path) -> None:
    """As img2dataset leaves it."""
    write_tar(root, with_json=True)


def write_parquet(root: Path) -> None:
    """A file with row groups of 32."""
    parquet_file(root / "a.parquet", range(IMAGES), 32)


def parquet_file(path: Path, numbers: range, row_group: int) -> None:
    """Columns of FLUX-Reason."""
    columns = {
        "id": [f"id-{i}" for i in numbers],
        "image": [{"bytes": jpeg(i), "path": None} for i in numbers],
        "caption": [f"caption {i}" for i in numbers],
        "caption_detail": [f"caption {i}" for i in numbers],
        "score_style": [i / len(numbers) for i in numbers],
    }
    pq.write_table(pa.table(columns), path, row_group_size=row_group)


def bare_parquet(root: Path) -> Pairs:
    """The rows of the file."""
    for batch in pq.ParquetFile(root / "a.parquet").iter_batches(64, columns=["image", "caption"]):
        for row in batch.to_pylist():
            yield row["caption"], pixels(row["image"]["bytes"])


def write_hpdv3(root: Path) -> None:
    """A list in which every image is compared with the next one, which has the same prompt."""
    (root / "images").mkdir()
    for i in range(IMAGES):
        (root / f"images/{i}.jpg").write_bytes(jpeg(i))
    pairs = [
        {"prompt": f"prompt {i // 2}", "choice_dist": [9, 1], "confidence": 0.9, "path1": f"images/{i}.jpg",
         "path2": f"images/{i + 1}.jpg", "model1": "a", "model2": "b"}
        for i in range(0, IMAGES, 2)
    ]  # fmt: skip
    (root / "all.json").write_text(json.dumps(pairs))


def bare_hpdv3(root: Path) -> Pairs:
    """Every image with its prompt, once."""
    seen = set()
    for item in json.loads((root / "all.json").read_text()):
        for path in (item["path1"], item["path2"]):
            if (item["prompt"], path) not in seen:
                seen.add((item["prompt"], path))
                yield item["prompt"], pixels(root / path)


def write_mjhq30k(root: Path) -> None:
    """Two categories."""
    entries = {}
    for i in range(IMAGES):
        category = ("animals", "food")[i % 2]
        (root / category).mkdir(exist_ok=True)
        (root / category / f"{i:05d}.jpg").write_bytes(jpeg(i))
        entries[f"{i:05d}"] = {"category": category, "prompt": f"caption {i}"}
    (root / "meta_data.json").write_text(json.dumps(entries))


def bare_mjhq30k(root: Path) -> Pairs:
    """The entries of the JSON file."""
    for name, entry in json.loads((root / "meta_data.json").read_text()).items():
        yield entry["prompt"], pixels(root / entry["category"] / f"{name}.jpg")


def write_huggingface(root: Path) -> None:
    """As `save_to_disk` writes it."""
    import datasets

    datasets.disable_progress_bars()
    features = datasets.Features({"image": datasets.Image(), "caption": datasets.Value("string")})
    columns = {
        "image": [{"bytes": jpeg(i), "path": None} for i in range(IMAGES)],
        "caption": [f"caption {i}" for i in range(IMAGES)],
    }
    datasets.Dataset.from_dict(columns, features=features).save_to_disk(root)


def bare_huggingface(root: Path) -> Pairs:
    """The rows of the data set."""
    import datasets

    data = datasets.load_from_disk(root).cast_column("image", datasets.Image(decode=False))
    for row in data:
        yield row["caption"], pixels(row["image"]["bytes"])


FORMATS: dict[str, tuple[Callable[[Path], None], Callable[[Path], Pairs]]] = {
    "folder": (write_folder, bare_folder),
    "webdataset": (write_tar, bare_tar),
    "parquet": (write_parquet, bare_parquet),
    "laion": (write_laion, bare_tar),
    "hpdv3": (write_hpdv3, bare_hpdv3),
    "flux_reason": (write_parquet, bare_parquet),
    "mjhq30k": (write_mjhq30k, bare_mjhq30k),
    "huggingface": (write_huggingface, bare_huggingface),
}


# ---------------------------------------------------------------------- the contest


def block(name: str, root: Path) -> Any:
    """Settings of a pool of the format, all of it in the split pool."""
    shares = {"meta_validation": 0.0, "evaluation": 0.0, "scorer": 0.0}
    settings = {"format": name, "path": str(root), "resolution": RESOLUTION, "splits": shares}
    return pool_settings(settings, f"pools.{name}")


def make_ours(name: str, root: Path) -> Callable[[], object]:
    """One turn: every pair, as the stage prepare draws it."""
    _pin()
    settings = block(name, root)
    return lambda: sum(1 for _ in rows(settings, 1))


def make_bare(name: str, root: Path) -> Callable[[], object]:
    """One turn: every pair."""
    _pin()
    return lambda: sum(1 for _ in FORMATS[name][1](root))


def _pin() -> None:
    """One core for the process, where the system can, and one thread that decodes.

    More threads on one core would get a larger share of it where other work runs beside.
    """
    os.cpu_count = lambda: 1
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def ratios(repeats: int) -> list[Ratio]:
    """Our rate over that of the bare loop, a format each."""
    found = []
    for name, (write, _) in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write(root)
            taken = medians(
                {
                    "ours": Contestant(make_ours, name, root, ours=True),
                    "bare": Contestant(make_bare, name, root, ours=False),
                },
                repeats,
            )
        words = f"{IMAGES / taken['ours']:.0f} images/s over {IMAGES / taken['bare']:.0f}, one core"
        found.append(Ratio(f"reading {name} / a bare loop", taken["bare"] / taken["ours"], ">= 0.8", words))
    return found


# ---------------------------------------------------------------------- memory at a shard's full size

ROW_GROUPS = (100, 1_000)  # images of a row group; `datasets` writes 100
READ = """
from alchemist.core import process
process.prepare()  # as a stage does
from benchmarks import adapters
adapters.read(*{arguments})
"""


def read(name: str, root: str) -> None:
    """Reads every pair; prints the peak of the process in MiB."""
    settings = block(name, Path(root))
    os.cpu_count = lambda: 1
    assert not any(row.reason for row in rows(settings, 1))
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    print(int(found[1]) / 2**10)


def print_peaks(name: str, words: str, write: Callable[[Path, int], None]) -> None:
    """Of a process that reads one shard, and of one that reads four."""
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        for shard in range(4):
            write(Path(folder), shard)
            if shard in (0, 3):
                command = [sys.executable, "-c", READ.format(arguments=(name, folder))]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                peaks.append(float(done.stdout))
    print(f"{name}{words}: {peaks[0]:.0f} MiB of one shard, {peaks[1]:.0f} of four", flush=True)


def main() -> None:
    """Peaks at the size of a shard."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="?", type=int, default=10_000, help="as img2dataset has in a tar")
    images = parser.parse_args().images
    print_peaks("laion", "", lambda root, shard: tar_shard(root, shard, images, with_json=True))
    for rows_of_group in ROW_GROUPS:

        def write(root: Path, shard: int, size: int = rows_of_group) -> None:
            numbers = range(shard * images, (shard + 1) * images)
            parquet_file(root / f"{shard}.parquet", numbers, size)

        print_peaks("flux_reason", f", row groups of {rows_of_group:,}", write)


if __name__ == "__main__":
    main()
