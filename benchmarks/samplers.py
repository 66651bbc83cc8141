"""Seconds and peak memory of each sampler.

    python -m benchmarks.samplers [RATINGS …]

RATINGS are 1 and 30 million by default. Each sampler runs in a process of its own, so that its peak
memory is its own; the row `table` is a process that only makes the ratings. Ids come in ascending order,
as the pool writes them, and once shuffled, which adds a sort by id.
"""

import argparse
import resource
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from alchemist.pruning.laws import select
from alchemist.settings.selection import SelectionSettings

CASES = [
    "table",
    "random",
    "topk",
    "block",
    "gsample",
    "shift_gsample",
    "shift_gsample tied",
    "shift_gsample shuffled",
]


def ratings(count: int, case: str) -> pd.DataFrame:
    """`count` ids of 14 characters with normal ratings (of 1,000 levels if tied)."""
    rng = np.random.default_rng(0)
    numbers = np.arange(count)
    if "shuffled" in case:
        rng.shuffle(numbers)
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), 9, "0")
    ids = pc.binary_join_element_wise("pair-", digits, "")
    rating = rng.normal(size=count) if "tied" not in case else rng.integers(1000, size=count).astype(float)
    return pd.DataFrame({"id": pd.Series(ids, dtype="str"), "rating": rating})


def measure(case: str, count: int) -> str:
    """One row of the table: seconds of `select` at retention 0.5, and the process's peak memory."""
    table = ratings(count, case)
    started = time.perf_counter()
    if case != "table":
        empty = {"start": None, "drop": None, "mean": None, "sigma": None}
        settings = SelectionSettings.model_validate(
            {"rater": "r", "sampler": case.split(maxsplit=1)[0], "seed": 0, **empty}
        )
        assert len(select(table, 0.5, settings)) == count // 2
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return f"{count:>12,}  {case:<24}{seconds:>8.2f} s{peak:>8.2f} GiB"


def main() -> None:
    """Prints one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="*", type=int, default=[1_000_000, 30_000_000])
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)  # of a process of its own
    asked = parser.parse_args()
    if asked.case is not None:
        print(measure(asked.case, asked.ratings[0]))
        return
    print(f"{'ratings':>12}  {'sampler':<24}{'time':>10}{'peak':>12}", flush=True)
    for total in asked.ratings:
        for name in CASES:
            single = [sys.executable, "-m", "benchmarks.samplers", str(total), "--case", name]
            subprocess.run(single, check=True)


if __name__ == "__main__":
    main()
