"""What every stage that rates leaves: a table of ratings and a bill."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import ArrayLike

from alchemist.core import files, finite, tables
from alchemist.core.refusal import Refusal

SCHEMA = pa.schema([("id", pa.string()), ("rating", pa.float64()), ("lent", pa.bool_())])  # of the table


def write_table(out: Path, ids: ArrayLike, ratings: ArrayLike, lent: ArrayLike) -> None:
    """The table id, rating, lent of N pairs, by id; higher is kept first. Raises Refusal for ratings that are
    not N numbers, and for one that is not finite, with its id.

    `lent`: a person's own pair that a share put in another split than pool, so that no cell trains on it.
    """
    found = np.asarray(ratings)
    if found.dtype.kind not in "iuf" or found.shape != np.shape(ids):
        raise Refusal(
            f"the ratings are {found.dtype} of the shape {found.shape}; a number for each of "
            f"{len(np.asarray(ids))} pairs is legal."
        )
    table = pd.DataFrame({"id": ids, "rating": found.astype(np.float64), "lent": lent})
    finite.check("rating", table["rating"].to_numpy(), table["id"].array, "another rater is legal")
    tables.write(out, table.sort_values("id", kind="stable").reset_index(drop=True))


def write_facts(folder: Path, facts: dict[str, Any]) -> None:
    """What is kept of a rating beside its table: `facts` as rating.json, and a manifest of all."""
    files.write_json(folder / "rating.json", facts)
    files.write_manifest(folder)


def check(table: Path, folder: Path) -> None:
    """Raises Refusal where a table of ratings, or what `write_facts` left, is not as it was written."""
    files.check_manifest(folder)
    tables.read(table, SCHEMA.names)


def clocked(seconds: float, scoring: float, logged: float) -> float:
    """Seconds of a whole rating, of which `scoring` was spent on scoring the pool.

    A run that was killed and resumed clocks only its last try as `seconds`; its log counts the training of
    all of them, `logged`.
    """
    return max(seconds, logged + scoring)


def fixed_bill(rater: str, kind: str, pairs: int, score_flops: int) -> dict[str, Any]:
    """rating.json of a rater that trains nothing."""
    return {
        "rater": rater,
        "kind": kind,
        "pairs": pairs,
        "train_flops": 0,
        "score_flops": score_flops,
        "log": [],
    }
