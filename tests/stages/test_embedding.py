"""What the stage embedding passes on: each pair's own image and caption, and the direction."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from stage_grid import Grid

from alchemist.core import files
from alchemist.core.refusal import Refusal


def rated(grid: Grid, rater: str, name: str, **changes: Any) -> pd.DataFrame:
    """The table that the stage leaves under a name; made once."""
    out = grid.folder / f"data/ratings/{rater}/{name}.parquet"
    if not out.is_file():
        grid("embedding", rater=rater, pool="data/pool", scorer="data/scorer", scale="tiny",
             out=f"data/ratings/{rater}/{name}.parquet", log_out=f"data/raters/{rater}/{name}",
             time_out=f"data/timings/{rater}-{name}.json", **changes)  # fmt: skip
    return pd.read_parquet(out)


def test_a_clip_rating_is_of_its_own_image_and_caption_in_the_direction_asked_for(grid: Grid) -> None:
    found = rated(grid, "clip_score", "whole")
    rows = grid.index("pool").sort_values("id")
    assert list(found["id"]) == list(rows["id"])
    assert grid.params.raters["clip_score"].direction == -1
    expected = -grid.clip(grid.images(rows), rows["caption"]) / 100
    assert np.allclose(found["rating"], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.01


@pytest.mark.parametrize("rater", ["clip_score", "semdedup"])
def test_shards_by_several_processes_are_the_ratings_of_one(
    grid: Grid, rater: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each pair by itself, and of the features of all; in bytes, if the shards are the same."""
    one = rated(grid, rater, "whole")  # in one shard
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        rated(grid, rater, "parts", rows=37)
    monkeypatch.setenv("RANK", "0")
    several = rated(grid, rater, "parts", rows=37)
    monkeypatch.delenv("WORLD_SIZE")
    alone = rated(grid, rater, "alone", rows=37)
    assert alone.equals(several)  # a shard does not know which were made before it
    assert list(one["id"]) == list(several["id"])
    assert np.abs(one["rating"] - several["rating"]).max() <= 1e-4 * one["rating"].std()
    facts = [
        files.read_json(grid.folder / f"data/raters/{rater}/{n}/rating.json") for n in ("whole", "parts")
    ]
    assert facts[0]["score_flops"] == facts[1]["score_flops"] > 0
    assert sorted(p.name for p in (grid.folder / f"data/raters/{rater}/parts").iterdir()) == [
        "manifest.json", "rating.json"
    ]  # fmt: skip


def test_more_clusters_than_pairs_are_refused_before_any_image_is_read(grid: Grid) -> None:
    params = files.read_sealed(grid.folder / "data/params.json")
    params["raters"]["many"] = {"kind": "semdedup", "clusters": 10_000}
    files.write_json(grid.folder / "data/params.json", files.sealed(params))
    pairs, before = len(grid.index("pool")), {*(grid.folder / ".scratch").iterdir()}
    with pytest.raises(Refusal, match=f"raters.many.clusters is 10000; the pool has {pairs} usable pairs"):
        grid("embedding", rater="many", pool="data/pool", scorer="data/scorer", scale="tiny",
             out="data/ratings/many.parquet", log_out="data/raters/many",
             time_out="data/timings/many.json")  # fmt: skip
    assert not (grid.folder / "data/ratings/many.parquet").exists()
    assert {*(grid.folder / ".scratch").iterdir()} == before
