"""What every stage that rates leaves: a table of ratings and a bill."""

from pathlib import Path
from typing import Any

import pandas as pd
from numpy.typing import ArrayLike

from alchemist.core import files


def write_table(out: Path, ids: ArrayLike, ratings: ArrayLike) -> None:
    """The table id, rating of N pairs; higher is kept first."""
    with files.whole(out) as draft:
        pd.DataFrame({"id": ids, "rating": ratings}).to_parquet(draft, index=False)


def fixed_bill(
    rater: str, kind: str, pairs: int, score_seconds: float, seconds: float, score_flops: int
) -> dict[str, Any]:
    """rating.json of a rater that trains nothing; `seconds` are those of the whole stage."""
    return {
        "rater": rater,
        "kind": kind,
        "pairs": pairs,
        "score_seconds": score_seconds,
        "images_per_second": pairs / score_seconds,
        "train_flops": 0,
        "score_flops": score_flops,
        "log": [],
        "seconds": seconds,
    }
