"""Seconds and peak memory of what follows a rating, on pools of 10,000, 160,000 and 10 million pairs.

    python -m benchmarks.million [PAIRS …] [--folder FOLDER]

The pool is synthetic: an index as prepare leaves it, ratings, and tars of 10,000 pairs each, sparse files of
zeros that take no disk. Each step runs in a process of its own, on one core.
"""

import argparse
import contextlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import files, stateless, tables
from alchemist.pools import store
from alchemist.pools.row import crc
from alchemist.pools.table import ROW_GROUP
from benchmarks import given

SIZES = (10_000, 160_000, 10_000_000)
A_TAR = 10_000  # pairs
BYTES = 1024  # of an image
READ = 64_000  # pairs that the loader gives


def make(folder: Path, count: int) -> None:
    """The pool, its ratings and a params.json, streamed."""
    params = given.params()
    files.write_json(
        folder / "data/params.json",
        files.sealed({"selections": params["selections"], "grid": {"seeds": [0]}}),
    )
    (folder / "tars").mkdir()
    for tar in range(-(-count // A_TAR)):
        with (folder / f"tars/{tar:06d}.tar").open("wb") as file:
            file.truncate(A_TAR * BYTES)
    pool, ratings = folder / "data/pool", folder / "data/ratings/loss/0.parquet"
    pool.mkdir(parents=True)
    ratings.parent.mkdir(parents=True)
    schema = pa.schema([("id", pa.string()), ("rating", pa.float64()), ("lent", pa.bool_())])
    schema = schema.with_metadata({tables.ROWS: str(count)})
    with (
        pq.ParquetWriter(pool / store.INDEX, store._SCHEMA) as index,
        pq.ParquetWriter(ratings, schema) as rated,
    ):
        for first in range(0, count, ROW_GROUP):
            numbers = np.arange(first, min(first + ROW_GROUP, count))
            ids = [f"{i // A_TAR:06d}/{i:012d}" for i in numbers]
            rating = stateless.uniforms(1, numbers)
            rated.write_table(pa.table([ids, rating, np.zeros(len(ids), dtype=bool)], schema=schema))
            index.write_table(_index(numbers, ids))
    card = {
        "pool": "mine", "settings": {"format": "webdataset"}, "resolution": 32,
        "roots": {"mine": str(folder / "tars")},
    }  # fmt: skip
    files.write_json(pool / store.CARD, card)
    files.write_manifest(pool)


def _index(numbers: "np.ndarray[tuple[int], np.dtype[np.int64]]", ids: list[str]) -> pa.Table:
    """Rows of the index: usable pairs of the split pool, one behind the other in their tars."""
    count, zeros = len(ids), crc(bytes(BYTES))
    columns = {
        "id": ids,
        "caption": [f"picture {i}, with as many words beside it as an alt text has" for i in numbers],
        "split": ["pool"] * count, "group": ids, "status": ["ok"] * count, "reason": [""] * count,
        "source": ["mine"] * count, "lent": [False] * count, "cluster": numbers, "pixels": numbers,
        "place": ["file"] * count, "file": [f"{i // A_TAR:06d}.tar" for i in numbers], "column": [""] * count,
        "offset": numbers % A_TAR * BYTES, "size": [BYTES] * count, "crc": [zeros] * count,
    }  # fmt: skip
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in store._SCHEMA]
    return pa.table(arrays, schema=store._SCHEMA)


# ---------------------------------------------------------------------- the steps


def prune() -> None:
    """The kept half."""
    from stages import prune as stage

    stage.run(Path("data/ratings"), "loss", 0.5, Path("data/subsets/loss/0.5"))


def _export(form: str) -> None:
    from stages import export

    export.run(
        "loss", Path(f"out-{form}"), 0.5, 0, export.Format(form), Path("data/pool"), Path("data/ratings"),
        Path("data/subsets"),
    )  # fmt: skip


def table() -> None:
    """Every pair with its outcome."""
    _export("parquet")


def index() -> None:
    """The loader's index of the kept half."""
    _export("loader")


def load() -> None:
    """Pairs in the loader's order, a batch at a time."""
    from alchemist.kept.loader import KeptPairs

    pairs = KeptPairs("out-loader", batch=64)
    for number, _ in enumerate(pairs, 1):
        if number == READ:
            return


def shard() -> None:
    """The rows of one shard in the middle, as a pass reads them."""
    from alchemist.pools.index import part
    from alchemist.raters.scoring import READ

    with pq.ParquetFile("data/pool/index.parquet") as file:
        count = file.metadata.num_rows
    assert len(part(Path("data/pool"), count // 2, 4096, READ)) == min(4096, count - count // 2)


STEPS: dict[str, Callable[[], None]] = {
    "prune": prune, "export parquet": table, "export loader": index, "load 64,000 pairs": load,
    "read one shard": shard,
}  # fmt: skip


def measured(step: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a step in a process of its own, without the start of Python."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.million", "--step", step, "--folder", str(folder)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    seconds, peak = told.split()[-2:]
    return float(seconds), float(peak)


def main() -> None:
    """Prints a row a step and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", type=int, default=SIZES)
    parser.add_argument(
        "--folder", type=Path, help="where the pools lie; a temporary one where it is left out"
    )
    parser.add_argument("--step", choices=STEPS, help="run one step in --folder, for the command itself")
    asked = parser.parse_args()
    if asked.step:
        with contextlib.chdir(asked.folder):
            begun = time.perf_counter()
            STEPS[asked.step]()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        print(f"{time.perf_counter() - begun:.2f} {peak:.0f}")
        return
    print(f"{'pairs':>12}  {'step':<20}{'s':>9}{'MiB':>8}", flush=True)
    for count in asked.pairs:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            make(Path(folder), count)
            for step in STEPS:
                seconds, peak = measured(step, Path(folder))
                print(f"{count:>12,}  {step:<20}{seconds:>9.1f}{peak:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
