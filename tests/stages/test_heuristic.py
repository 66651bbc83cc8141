"""What the stage heuristic passes on: each pair's own image, and the direction."""

import numpy as np
import pandas as pd
import pytest
from stage_grid import Grid

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
    rows = grid.index("pool")
    assert sorted(found["id"]) == sorted(rows["id"])
    groups = rows[column].map(normalised) if column == "caption" else rows[column]
    rated = found.set_index("id")["rating"].loc[rows["id"]].to_numpy()
    assert pd.Series(rated).groupby(groups.to_numpy()).max().eq(0).all()
    assert (rated == 0).sum() == groups.nunique()
