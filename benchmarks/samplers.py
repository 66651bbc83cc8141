"""Seconds and peak memory of each sampler.

    python -m benchmarks.samplers [RATINGS …]

RATINGS are 1 and 30 million by default. Each sampler runs in a process of its own, which reads the table
from parquet as the stage prune does, so that its peak memory is its own; the row `table` only reads it.
Ids come in ascending order, as the pool writes them, and once shuffled, which adds a sort by id. On one
core.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from alchemist.pruning.laws import select
from alchemist.pruning.samplers import selection_settings

RETENTION = 0.5
CASES = [
    "table",
    "random",
    "topk",
    "block",
    "gsample",
    "shift_gsample",
    "interval",
    "shift_gsample tied",
    "shift_gsample shuffled",
]


def write(path: Path, count: int, case: str) -> None:
    """`count` ids of 14 characters with normal ratings (of 1,000 levels if tied), a part at a time."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    numbers = np.arange(count)
    if "shuffled" in case:
        rng.shuffle(numbers)
    schema = pa.schema([("id", pa.large_string()), ("rating", pa.float64())])
    with pq.ParquetWriter(path, schema) as writer:
        for part in np.array_split(numbers, -(-count // 1_000_000)):
            digits = pc.utf8_lpad(pc.cast(pa.array(part), pa.string()), 9, "0")
            ids = pc.cast(pc.binary_join_element_wise("pair-", digits, ""), pa.large_string())
            levels = rng.integers(1000, size=len(part)).astype(float)
            rating = levels if "tied" in case else rng.normal(size=len(part))
            writer.write_table(pa.table([ids, pa.array(rating)], schema=schema))


def measure(case: str, path: Path) -> tuple[float, float, float]:
    """Seconds to read the table, seconds of `select` (0 for `table`), and the process's peak in GiB."""
    started = time.perf_counter()
    table = pd.read_parquet(path, columns=["id", "rating"])
    read = time.perf_counter() - started
    seconds = 0.0
    if case != "table":
        sampler = selection_settings({"rater": "r", "sampler": case.split(maxsplit=1)[0]}, case)
        started = time.perf_counter()
        assert len(select(table, RETENTION, sampler)) == len(table) // 2
        seconds = time.perf_counter() - started
    return read, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_a_process(case: str, count: int, repeats: int = 1) -> list[tuple[float, float, float]]:
    """`measure`, each time in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        single = [sys.executable, "-m", "benchmarks.samplers", str(count), "--case", case]
        single += ["--table", f"{folder}/table.parquet"]
        subprocess.run(single, check=True)  # makes the table
        told = [subprocess.run(single, check=True, capture_output=True, text=True) for _ in range(repeats)]
    return [tuple(float(word) for word in done.stdout.split()) for done in told]  # type: ignore[misc]


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="*", type=int, default=[1_000_000, 30_000_000])
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)  # of a process of its own
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case is not None and hasattr(os, "sched_setaffinity"):  # as Linux has it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    if asked.case is not None and asked.table.is_file():
        print(*measure(asked.case, asked.table))
        return
    if asked.case is not None:
        write(asked.table, asked.ratings[0], asked.case)
        return
    print(f"{'ratings':>12}  {'sampler':<24}{'read':>10}{'select':>10}{'peak':>12}", flush=True)
    for total in asked.ratings:
        for case in CASES:
            read, seconds, peak = in_a_process(case, total)[0]
            print(f"{total:>12,}  {case:<24}{read:>8.2f} s{seconds:>8.2f} s{peak:>8.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
