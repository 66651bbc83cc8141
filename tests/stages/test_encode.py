"""What the stages encode, heuristic, embedding and scorer pass on: the right image under the right id."""

import numpy as np
import pandas as pd
import pytest
import torch
from stage_grid import Grid

from alchemist.measures import clip_score
from alchemist.models.text import caption_states
from alchemist.raters import pixels


@pytest.mark.parametrize("split", ["pool", "meta_val", "evaluation"])
def test_a_row_holds_its_own_image_and_caption(grid: Grid, split: str) -> None:
    rows = grid.index(split).iloc[[0, 7, -1]]
    batch = grid.encoded.batch(grid.numbers(rows["id"]))
    for name, values in grid.codec.encode(grid.images(rows)).items():
        assert np.array_equal(batch.inputs[name].numpy(), values)
    longest = grid.scale.encode.caption_pieces
    states = caption_states(list(rows["caption"]), longest, 3, torch.device("cpu"))
    for i, state in enumerate(states):
        assert int(batch.text.mask[i].sum()) == len(state)
        assert np.allclose(batch.text.states[i, : len(state)].numpy(), state, atol=0.05)


def test_every_usable_pair_of_three_splits_is_encoded_and_no_other(grid: Grid) -> None:
    rows = pd.read_parquet(grid.folder / "data/encoded/rows.parquet")
    for split in ("pool", "meta_val", "evaluation"):
        assert list(rows["id"][rows["split"] == split]) == list(grid.index(split)["id"])
    assert not set(rows["id"]) & set(grid.index("scorer")["id"])


def test_a_pixel_rating_is_of_its_own_image_in_the_direction_asked_for(grid: Grid) -> None:
    grid("heuristic", rater="clarity", pool="data/pool", out="data/ratings/clarity/all.parquet",
         log_out="data/raters/clarity/all")  # fmt: skip
    found = pd.read_parquet(grid.folder / "data/ratings/clarity/all.parquet")
    rows = grid.index("pool")
    assert list(found["id"]) == list(rows["id"])
    direction = grid.params.raters["clarity"].direction
    expected = [direction * pixels.score("clarity", image) for image in grid.images(rows)]
    assert np.array_equal(found["rating"], expected)


def test_a_clip_rating_is_of_its_own_image_and_caption(grid: Grid) -> None:
    grid("embedding", rater="clip_score", pool="data/pool", scorer="data/scorer", scale="tiny",
         out="data/ratings/clip_score/all.parquet", log_out="data/raters/clip_score/all")  # fmt: skip
    found = pd.read_parquet(grid.folder / "data/ratings/clip_score/all.parquet")
    rows = grid.index("pool")
    judge = clip_score.load_scorer("lit", grid.folder / "data/scorer")
    expected = clip_score.score(judge, grid.images(rows), list(rows["caption"]), 50) / judge.scale
    assert list(found["id"]) == list(rows["id"])
    assert np.allclose(found["rating"], expected, atol=1e-5)


def test_the_scorer_saw_its_own_split_alone(grid: Grid) -> None:
    """A scorer fitted to that split by hand gives the same scores."""
    from alchemist.core import stateless
    from stages.scorer import HELD_OUT

    rows, settings = grid.index("scorer"), grid.scale.scorer
    places = stateless.id_uniforms(list(rows["group"]), "scorer held out", settings.seed)
    train = rows[places >= HELD_OUT]
    assert len(train) < len(rows)
    ours = clip_score.fit_lit(grid.images(train), list(train["caption"]), settings)
    theirs = clip_score.load_scorer("lit", grid.folder / "data/scorer")
    some = grid.index("pool").iloc[:20]
    scores = [clip_score.score(s, grid.images(some), list(some["caption"]), 20) for s in (ours, theirs)]
    assert np.allclose(*scores, atol=1e-4)
