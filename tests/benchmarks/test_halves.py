"""Which subsets are looked at: those that cells train on."""

from pathlib import Path

import pandas as pd
import pytest

from alchemist.core import tables
from benchmarks.halves import chosen


def write(folder: Path, selection: str, name: str, ids: str) -> None:
    path = folder / selection / "0.5" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write(path, pd.DataFrame({"id": list(ids)}))


def test_every_seed_of_a_selection_is_taken_and_no_ids_of_lent_pairs(tmp_path: Path) -> None:
    for name, ids in (("0", "ab"), ("1", "bc"), ("ids-0", "abx"), ("ids-1", "bcx")):
        write(tmp_path, "random", name, ids)
    write(tmp_path, "edge_low", "all", "cd")
    write(tmp_path, "best", "0", "ad")
    found = chosen(tmp_path, ["random", "edge_low"], "0.5")
    assert {key: "".join(ids) for key, ids in found.items()} == {
        ("random", "0"): "ab", ("random", "1"): "bc", ("edge_low", "all"): "cd",
    }  # fmt: skip


def test_a_selection_that_is_not_there_is_named(tmp_path: Path) -> None:
    write(tmp_path, "random", "ids-0", "abx")
    with pytest.raises(SystemExit, match=r"random/0\.5 has no subset; run dvc repro with random in the grid"):
        chosen(tmp_path, ["random"], "0.5")
