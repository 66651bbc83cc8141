"""Whether a stage's peak memory grows with the pool: each stage that reads pairs, on two sizes of a pool.

    python -m benchmarks memory
    python -m benchmarks.memory sizes 10000 160000 [FORMAT …]    # of what reads your files, sizes of your own
    python -m benchmarks.memory chunks m 64 8         # a step of model m in chunks of 8 beside whole batches

The stages run as they are, each in a process of its own, on a person's pairs of random 32 px images:
all stages on parquet, those that read the person's files on a folder and on tars too.
The networks are tiny, so that what is held of the pool shows beside them: pixels that stay in memory would
be 27 MiB of the larger pool, 7 % of most stages. There are 200 captions, since their states wait in memory
by design until they are enough for a shard (`SHARD_BYTES`, `CHUNK_BYTES`).
"""

import contextlib
import importlib
import inspect
import io
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from PIL import Image

from alchemist.core import files, process, stateless
from alchemist.params.sources import passed_on
from benchmarks import given
from benchmarks.ratio import Ratio

SIZES = given.sized((3_000, 12_000), (400, 600))
FORMATS = ("parquet", "webdataset", "folder")
# Stages that read a person's files whole.
READING = given.sized(("prepare", "copies", "encode"), ("prepare",))
CAPTIONS = 200
ASSETS = Path("assets").resolve()
# What each stage is given; paths lie in the folder of its pool.
GIVEN: dict[str, dict[str, Any]] = {
    "prepare": {"pool": "mine", "out": "read", "truth_out": "truth"},
    "copies": {"pool": "mine", "read": "read", "out": "pool"},
    "encode": {"pool": "pool", "out": "encoded"},
    "heuristic": {"rater": "clarity", "pool": "pool", "out": "ratings/clarity/all.parquet"},
    "rate": {"rater": "loss", "out": "ratings/loss/0.parquet"},
    "prune": {"ratings": "ratings", "selection": "loss", "ratio": 0.5, "out": "subsets"},
    "train": {"model": "xs", "subset": "subsets/0.parquet", "out": "cell"},
}
COMMON: dict[str, Any] = {
    "family_name": "star", "encoded": "encoded", "assets": ASSETS / "raters", "scale": "tiny", "seed": 0,
    "scratch": ".scratch", "log_out": "log", "time_out": "time.json",
}  # fmt: skip


def make(folder: Path, count: int, source: str = "parquet") -> None:
    """A person's files of `count` pairs, and a params.yaml with tiny networks that reads them."""
    params = given.params()
    shares = {"meta_validation": 0.05, "evaluation": 0.02, "scorer": 0.02}
    params["pools"]["mine"] |= {"format": source, "path": "mine", "splits": shares}
    params["roles"] = {"proxy": "xs", "rater": "xs"}
    params["grid"] |= {"seeds": [0]}
    params["models"]["xs"] |= {"depth": 1, "width": 32, "heads": 2}
    params["scales"]["tiny"].setdefault("rate", {}).update({"images": 320, "warmup_images": 32})
    params["scales"]["tiny"].setdefault("train", {}).update({"images": 640, "warmup_images": 32})
    files.write_json(folder / "data/params.json", files.sealed(passed_on(params)))
    (folder / "mine").mkdir()
    for start in range(0, count, 1000):
        shape = (min(1000, count - start), 32, 32, 3)
        pixels = stateless.generator("memory", start).integers(0, 256, shape, dtype=np.uint8)
        captions = [f"picture of kind {i % CAPTIONS}" for i in range(start, start + len(pixels))]
        write(folder / "mine", source, f"{start // 1000:05d}", [png(one) for one in pixels], captions)


def write(folder: Path, source: str, name: str, images: list[bytes], captions: list[str]) -> None:
    """A thousand pairs: one file, or a folder of files."""
    if source == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({"image": images, "caption": captions})
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=200)
        return
    parts = [(f"{name}-{i:03d}.png", image) for i, image in enumerate(images)]
    parts += [(f"{name}-{i:03d}.txt", caption.encode()) for i, caption in enumerate(captions)]
    if source == "folder":
        (folder / name).mkdir()
        for part, content in parts:
            (folder / name / part).write_bytes(content)
        return
    with tarfile.open(folder / f"{name}.tar", "w") as tar:
        for part, content in sorted(parts):
            about = tarfile.TarInfo(part)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))


def png(pixels: Any) -> bytes:
    """An image as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def run(stage: str, folder: Path) -> float:
    """Runs a stage in this process; gives the peak of the process, or of its largest worker, in MiB."""
    params = files.read_sealed(folder / "data/params.json")
    options = COMMON | {"codec": ASSETS / "codecs" / params["codecs"]["star"]["asset"]} | GIVEN[stage]
    work = importlib.import_module(f"stages.{stage}").run
    hints = get_type_hints(work)
    arguments = {}
    for name in inspect.signature(work).parameters.keys() & options.keys():
        is_path = Path in (hints[name], *get_args(hints[name]))
        arguments[name] = Path(options[name]) if is_path else options[name]
    with contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr):
        work(**arguments)
    return process.peak() / 2**20


def turn(what: str, folder: Path, model: str, batch: int, chunk: int | None) -> str:
    """Peak MiB of this process over some steps of training, or of a rater with credit eq. 9, and their ms a
    pair of the pool."""
    # Here, since a process that runs a stage without torch should not hold it.
    from alchemist.families.star.generator import StarGenerator
    from benchmarks import material, rating

    if what == "train":
        data, _ = material.opened(folder)
        network = StarGenerator(material.size(model), material.codec(), 0)
        steps, run = 1, material.our_steps(data, network, batch, 1, chunk)
    else:
        steps, run = rating.STEPS, rating.ours(folder, "penalty", 0.7, model, batch=batch, chunk=chunk)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return f"{process.peak() / 2**20:.0f} MiB, {min(times[1:]) / steps / batch * 1e3:.1f} ms"


def chunks(model: str, batch: int, chunk: int) -> Iterator[str]:
    """What whole batches and chunks take, each in a process of its own."""
    from benchmarks import material

    with tempfile.TemporaryDirectory() as folder:
        material.write(Path(folder), material.tokens())
        for what in ("train", "rate"):
            for size in ("0", str(chunk)):
                command = [sys.executable, "-m", "benchmarks.memory", what, folder, model, str(batch), size]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                how = f"in chunks of {size}" if size != "0" else "whole"
                yield f"{what} {model}, batch {batch}, {how}: {done.stdout.strip()} a pair"


def peak(stage: str, folder: Path, repeats: int) -> float:
    """The stage's peak on a pool, in MiB: a median, since it wavers by 3 MiB."""
    command = [sys.executable, "-m", "benchmarks.memory", stage, str(folder)]
    turns = [
        subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(min(repeats, 3))
    ]
    return statistics.median(float(done.stdout) for done in turns)


def ratios(
    repeats: int, sizes: tuple[int, int] = SIZES, every: bool = True, formats: Sequence[str] = FORMATS
) -> Iterator[Ratio]:
    """The peak on the larger pool over that on the smaller one; `every`: of all stages."""
    for source in formats:
        stages = list(GIVEN) if every and source == "parquet" else list(READING)
        peaks: dict[str, list[float]] = {stage: [] for stage in stages}
        for count in sizes:
            with tempfile.TemporaryDirectory() as name:
                make(Path(name), count, source)
                for stage in stages:
                    peaks[stage].append(peak(stage, Path(name), repeats))
        for stage, (small, large) in peaks.items():
            what = f"peak memory of {stage} ({source}), {sizes[1]:,} pairs / {sizes[0]:,}"
            yield Ratio(what, large / small, "<= 1.05", f"{large:.0f} MiB over {small:.0f}")


if __name__ == "__main__":
    if sys.argv[1] == "sizes":
        asked = int(sys.argv[2]), int(sys.argv[3])
        for ratio in ratios(1, asked, every=False, formats=sys.argv[4:] or FORMATS):
            print(f"{ratio.name}: {ratio.value:.3f} ({ratio.words})", flush=True)
    elif sys.argv[1] == "chunks":
        for line in chunks(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])):
            print(line, flush=True)
    elif len(sys.argv) > 4:
        how, place, model, batch, size = sys.argv[1:]
        print(turn(how, Path(place), model, int(batch), int(size) or None))
    else:
        print(run(sys.argv[1], Path(sys.argv[2])))
