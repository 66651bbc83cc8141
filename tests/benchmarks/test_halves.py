"""Which subsets are looked at, and which row a picture's figures stand in."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from alchemist.core import tables
from alchemist.measures.distances import moments
from alchemist.pools.row import Row
from alchemist.pools.store import write_pool
from benchmarks.halves import chosen, of_subsets, of_views, seen


def write(folder: Path, selection: str, name: str, ids: str) -> None:
    path = folder / selection / "0.5" / f"{name}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    tables.write(path, pd.DataFrame({"id": list(ids)}))


def mean(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    return images.mean(axis=(1, 2, 3))[:, None]


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


def test_a_figure_stands_in_the_row_of_its_picture(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).permutation(130)
    rows = [Row(f"id-{n}", "a", "pool", f"g{n}", np.full((8, 8, 3), n, np.uint8), "", None) for n in numbers]
    write_pool(tmp_path, rows, 8, 50, {})
    odd = pd.Index([f"id-{n}" for n in numbers if n % 2])
    found = of_subsets(tmp_path, {("odd", "0"): odd, ("few", "0"): pd.Index(["id-3", "id-8"])})
    assert set(found["id"]) == {*odd, "id-8"}
    assert seen(tmp_path, found, mean)[:, 0].tolist() == [int(name[3:]) for name in found["id"]]
    with pytest.raises(SystemExit, match="has no pair id-130, which a subset holds"):
        of_subsets(tmp_path, {("odd", "0"): pd.Index(["id-3", "id-130"])})


def test_a_view_has_its_own_references_and_equal_ones_stand_once() -> None:
    found = np.arange(12.0).reshape(6, 2)
    first, last = np.arange(6) < 3, np.arange(6) >= 3
    views = of_views(
        pd.DataFrame({"id": list("abcdef"), "once": first, "clean": last, "unseen": last}), found
    )
    assert list(views) == ["once", "clean"]
    assert np.array_equal(views["clean"].mean, moments(found[3:]).mean)
