"""What the stage embedding passes on: each pair's own image and caption, and the direction."""

import numpy as np
import pandas as pd
from stage_grid import Grid


def test_a_clip_rating_is_of_its_own_image_and_caption_in_the_direction_asked_for(grid: Grid) -> None:
    grid("embedding", rater="clip_score", pool="data/pool", scorer="data/scorer", scale="tiny",
         out="data/ratings/clip_score/all.parquet", log_out="data/raters/clip_score/all",
         time_out="data/timings/clip_score.json")  # fmt: skip
    found = pd.read_parquet(grid.folder / "data/ratings/clip_score/all.parquet")
    rows = grid.index("pool").sort_values("id")
    assert list(found["id"]) == list(rows["id"])
    assert grid.params.raters["clip_score"].direction == -1
    expected = -grid.clip(grid.images(rows), rows["caption"]) / 100
    assert np.allclose(found["rating"], expected, atol=1e-5)
    assert np.abs(expected).max() > 0.01
