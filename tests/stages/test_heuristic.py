"""What the stage heuristic passes on: each pair's own image, and the direction."""

import contextlib
import multiprocessing
import os
from typing import Any

import numpy as np
import pandas as pd
import pytest
from stage_grid import Grid

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools.captions import normalised
from alchemist.raters import pixels


def test_a_pixel_rating_is_of_its_own_image_in_the_direction_asked_for(grid: Grid) -> None:
    grid("heuristic", rater="frequency", pool="data/pool", out="data/ratings/frequency/all.parquet",
         log_out="data/raters/frequency/all", time_out="data/timings/frequency.json")  # fmt: skip
    found = pd.read_parquet(grid.folder / "data/ratings/frequency/all.parquet")
    rows = grid.index("pool").sort_values("id")
    assert list(found["id"]) == list(rows["id"])
    assert grid.params.raters["frequency"].direction == -1
    assert np.array_equal(found["rating"], [-pixels.score("frequency", image) for image in grid.images(rows)])


@pytest.mark.parametrize(("rater", "column"), [("copies", "cluster"), ("caption_quota", "caption")])
def test_a_rating_by_the_index_has_a_first_of_every_group(grid: Grid, rater: str, column: str) -> None:
    grid("heuristic", rater=rater, pool="data/pool", out=f"data/ratings/{rater}/all.parquet",
         log_out=f"data/raters/{rater}/all", time_out=f"data/timings/{rater}.json")  # fmt: skip
    found = pd.read_parquet(grid.folder / f"data/ratings/{rater}/all.parquet")
    rows = grid.index("pool").sort_values("id")
    assert list(found["id"]) == list(rows["id"])
    groups = rows[column].map(normalised) if column == "caption" else rows[column]
    rated = found.set_index("id")["rating"].loc[rows["id"]].to_numpy()
    assert pd.Series(rated).groupby(groups.to_numpy()).max().eq(0).all()
    assert (rated == 0).sum() == groups.nunique()


def by_pixels(grid: Grid, name: str, **changes: Any) -> None:
    grid("heuristic", rater="frequency", pool="data/pool", out=f"data/ratings/{name}.parquet",
         log_out=f"data/raters/{name}", time_out=f"data/timings/{name}.json", **changes)  # fmt: skip


def test_shards_by_several_processes_are_the_table_of_one(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_pixels(grid, "whole", rows=10_000)
    scratch = grid.folder / ".scratch"
    left = {*scratch.iterdir()}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(SystemExit) as ended:
        by_pixels(grid, "parts", rows=110)
    assert not ended.value.code
    assert not (grid.folder / "data/ratings/parts.parquet").exists()
    monkeypatch.setenv("RANK", "1")
    by_pixels(grid, "parts", rows=110)
    one, several = (
        pd.read_parquet(grid.folder / f"data/ratings/{name}.parquet") for name in ("whole", "parts")
    )
    pd.testing.assert_frame_equal(one, several)
    # One that comes late neither begins anew nor takes away what is there.
    before = (grid.folder / "data/ratings/parts.parquet").stat().st_mtime_ns
    with pytest.raises(SystemExit):
        by_pixels(grid, "parts", rows=110)
    assert (grid.folder / "data/ratings/parts.parquet").stat().st_mtime_ns == before
    assert {*scratch.iterdir()} == left


def test_of_a_launcher_s_processes_one_rates_by_the_index(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for rank in ("1", "0"):
        monkeypatch.setenv("RANK", rank)
        options = {"rater": "copies", "pool": "data/pool", "out": "data/ratings/once.parquet"}
        with contextlib.suppress(SystemExit):
            grid("heuristic", **options, log_out="data/raters/once", time_out="data/timings/once.json")
        assert (grid.folder / "data/ratings/once.parquet").exists() == (rank == "0")


def test_a_process_beside_another_on_the_same_work_is_refused(grid: Grid) -> None:
    """As after a killed dvc, whose child goes on; the one that ends last puts all together."""
    folder = grid.folder / ".scratch"
    before = {*folder.iterdir()}
    with pytest.raises(SystemExit):
        by_pixels(grid, "beside", rows=111, task=1, of=2)
    (shards,) = {*folder.iterdir()} - before
    handle = files.take(shards / ".taken/00000", os.O_RDWR | os.O_CREAT)
    context = multiprocessing.get_context("fork")
    with contextlib.chdir(grid.folder):
        process = context.Process(target=alone, args=(grid,))
        process.start()
        process.join()
    assert process.exitcode == 7
    assert not (grid.folder / "data/ratings/beside.parquet").exists()
    files.leave(handle)
    by_pixels(grid, "beside", rows=111)
    assert {*folder.iterdir()} == before


def alone(grid: Grid) -> None:
    """Exits with 7 where it is refused with the sentence for a busy folder."""
    try:
        by_pixels(grid, "beside", rows=111)
    except Refusal as error:
        os._exit(7 if "is in use by another process that runs the same work" in str(error) else 8)
    os._exit(9)
