"""Whether a stage's peak memory grows with the pool: each stage that reads pairs, on two sizes of a pool.

    python -m benchmarks memory

The stages run as they are, each in a process of its own, on a person's parquet file of random 32 px images.
The networks are tiny, so that what is held of the pool shows beside them: pixels that stay in memory would
be 27 MiB of the larger pool, 7 % of most stages. There are 200 captions, since their states wait in memory
by design until they are enough for a shard (`SHARD_BYTES`, `CHUNK_BYTES`), and shards of 1,000 pairs, since
a shard of pixels waits too.
"""

import contextlib
import importlib
import inspect
import io
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
from PIL import Image

from alchemist.core import files, stateless
from benchmarks import given
from benchmarks.ratio import Ratio

SIZES = (3_000, 12_000)
CAPTIONS = 200
ASSETS = Path("assets").resolve()
# What each stage is given; paths lie in the folder of its pool.
GIVEN: dict[str, dict[str, Any]] = {
    "prepare": {"pool": "mine", "out": "pool", "truth_out": "truth"},
    "encode": {"pool": "pool", "out": "encoded"},
    "heuristic": {"rater": "clarity", "pool": "pool", "out": "ratings/clarity/all.parquet"},
    "rate": {"rater": "loss", "proxy_name": "xs", "trunk": "xs", "out": "ratings/loss/0.parquet"},
    "prune": {"ratings": "ratings", "selection": "loss", "ratio": 0.5, "out": "subsets"},
    "train": {"model": "xs", "subset": "subsets/0.parquet", "out": "cell"},
}
COMMON: dict[str, Any] = {
    "family_name": "star", "encoded": "encoded", "assets": ASSETS / "raters", "scale": "tiny", "seed": 0,
    "scratch": ".scratch", "log_out": "log", "time_out": "time.json",
}  # fmt: skip


def make(folder: Path, count: int) -> None:
    """A parquet file of `count` pairs, and a params.yaml with tiny networks that reads it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    params = given.params()
    columns = {"image": "image", "caption": "caption", "id": "id"}
    shares = {"meta_validation": 0.05, "evaluation": 0.02, "scorer": 0.02}
    params["pools"]["mine"] |= {
        "format": "parquet", "path": "pairs.parquet", "columns": columns, "splits": shares,
        "shard_pairs": 1000,
    }  # fmt: skip
    params["grid"] |= {"seeds": [0]}
    params["models"]["xs"] |= {"depth": 1, "width": 32, "heads": 2}
    params["scales"]["tiny"].setdefault("rate", {}).update({"images": 320, "warmup_images": 32})
    params["scales"]["tiny"].setdefault("train", {}).update({"images": 640, "warmup_images": 32})
    files.write_json(folder / "data/params.json", params)
    schema = pa.schema([("id", pa.string()), ("image", pa.binary()), ("caption", pa.string())])
    with pq.ParquetWriter(folder / "pairs.parquet", schema) as writer:
        for start in range(0, count, 1000):
            shape = (min(1000, count - start), 32, 32, 3)
            pixels = stateless.generator("memory", start).integers(0, 256, shape, dtype=np.uint8)
            ids = [f"pair-{i:07d}" for i in range(start, start + len(pixels))]
            captions = [f"picture of kind {i % CAPTIONS}" for i in range(start, start + len(pixels))]
            writer.write_table(pa.table([ids, [png(one) for one in pixels], captions], schema=schema))


def png(pixels: Any) -> bytes:
    """An image as the bytes of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def run(stage: str, folder: Path) -> float:
    """Runs a stage in this process; gives the peak of the process, or of its largest worker, in MiB."""
    params = files.read_json(folder / "data/params.json")
    options = COMMON | {"codec": ASSETS / "codecs" / params["codecs"]["star"]["asset"]} | GIVEN[stage]
    work = importlib.import_module(f"stages.{stage}").run
    hints = get_type_hints(work)
    arguments = {}
    for name in inspect.signature(work).parameters:
        is_path = Path in (hints[name], *get_args(hints[name]))
        arguments[name] = Path(options[name]) if is_path else options[name]
    with contextlib.chdir(folder), contextlib.redirect_stdout(sys.stderr):
        work(**arguments)
    # The kernel's ru_maxrss of this process begins at the peak of the one that started it.
    own = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert own is not None
    return max(int(own[1]), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 2**10


def ratios(repeats: int) -> list[Ratio]:
    """The peak on the larger pool over that on the smaller one. It wavers by 3 MiB: three turns at most."""
    peaks: dict[str, list[float]] = {stage: [] for stage in GIVEN}
    for count in SIZES:
        with tempfile.TemporaryDirectory() as name:
            make(Path(name), count)
            for stage in GIVEN:
                command = [sys.executable, "-m", "benchmarks.memory", stage, name]
                turns = [
                    subprocess.run(command, check=True, capture_output=True, text=True)
                    for _ in range(min(repeats, 3))
                ]
                peaks[stage].append(statistics.median(float(done.stdout) for done in turns))
    return [
        Ratio(
            f"peak memory of {stage}, {SIZES[1]:,} pairs / {SIZES[0]:,}",
            large / small,
            "<= 1.05",
            f"{large:.0f} MiB over {small:.0f}",
        )
        for stage, (small, large) in peaks.items()
    ]


if __name__ == "__main__":
    print(run(sys.argv[1], Path(sys.argv[2])))
