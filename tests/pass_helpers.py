"""A pass whose tasks are known in closed form, for whichever engine runs them."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa

from alchemist.core.refusal import Refusal

COUNT = 12
SCHEMA = pa.schema([("id", pa.string()), ("rating", pa.float64())])


def table(number: int) -> pd.DataFrame:
    """What task `number` writes."""
    ids = [f"id-{number:02d}-{i}" for i in range(3)]
    return pd.DataFrame({"id": ids, "rating": [number + i / 10 for i in range(3)]})


def build(log: Path, seconds: float = 0.0, refused: int = -1) -> Callable[[int, Path], pd.DataFrame]:
    """Work that takes some time, and notes which process did it; task `refused` is a person's mistake."""

    def work(number: int, drafts: Path) -> pd.DataFrame:
        (log / f"{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
        time.sleep(seconds)
        if number == refused:
            raise Refusal("a tar is missing.")
        return table(number)

    return work
