"""A pool's planted truth and labels. Only the stages oracle and report may import it (a test proves it)."""

from pathlib import Path

import pandas as pd

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools.table import read_tables


def read_truth(folder: Path) -> pd.DataFrame:
    """Columns id and kind of a planted pool; no rows for a pool of a person's own files.

    Raises Refusal where the folder's files are missing or not what was written.
    """
    path = folder / "truth.parquet"
    if not path.is_file():
        raise Refusal(f"{path} is missing; run the stage prepare.")
    files.check_manifest(folder)
    return pd.read_parquet(path)


def read_labels(folder: Path) -> pd.DataFrame:
    """What people said of pairs: id and the columns that an adapter names; no rows for most pools.

    Raises Refusal as `read_truth` does.
    """
    files.check_manifest(folder)
    return read_tables(folder / "labels.parquet")
