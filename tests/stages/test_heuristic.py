"""What the stage heuristic passes on: each pair's own image, and the direction."""

import numpy as np
import pandas as pd
from stage_grid import Grid

from alchemist.raters import pixels


def test_a_pixel_rating_is_of_its_own_image_in_the_direction_asked_for(grid: Grid) -> None:
    grid("heuristic", rater="frequency", pool="data/pool", out="data/ratings/frequency/all.parquet",
         log_out="data/raters/frequency/all", time_out="data/timings/frequency.json")  # fmt: skip
    found = pd.read_parquet(grid.folder / "data/ratings/frequency/all.parquet")
    rows = grid.index("pool").sort_values("id")
    assert list(found["id"]) == list(rows["id"])
    assert grid.params.raters["frequency"].direction == -1
    assert np.array_equal(found["rating"], [-pixels.score("frequency", image) for image in grid.images(rows)])
