"""Ranking and Shift-Gsample over 30 million ratings: seconds and memory on one core.

python -m benchmarks pruning
"""

import numpy as np

from benchmarks import given, samplers
from benchmarks.ratio import Ratio

RATINGS = given.sized(30_000_000, 1_000_000)
MOST = 3  # turns


def ratios(repeats: int) -> list[Ratio]:
    """Seconds of `select` over a table that lies in memory, and the peak of the process that also read it."""
    found = np.array(samplers.in_a_process("shift_gsample", RATINGS, min(repeats, MOST)))
    read, seconds, peak = np.median(found, axis=0)
    told = f"Shift-Gsample, {RATINGS // 10**6} million"
    return [
        Ratio(
            f"{told}: s", float(seconds), "<= 5", f"order, hash and draw, one core; reading took {read:.1f} s"
        ),
        Ratio(
            f"{told}: GiB", float(peak), "<= 2", "peak of the process, reading of the parquet file and all"
        ),
    ]
