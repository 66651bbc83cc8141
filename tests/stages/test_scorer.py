"""What the stage scorer passes on: which pairs it is fitted to, and on which it is measured."""

import shutil

import numpy as np
import pandas as pd
import pytest
from stage_grid import Grid

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.measures import clip_score, scorers
from alchemist.measures.scorer_split import HELD_OUT
from alchemist.pools import store


def parts(grid: Grid) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The pairs of the split scorer that it is fitted to, and those that are held out."""
    rows = grid.index("scorer")
    places = stateless.id_uniforms(list(rows["group"]), "scorer held out", grid.scale.scorer.seed)
    return rows[places >= HELD_OUT], rows[places < HELD_OUT]


def test_the_scorer_saw_its_own_split_alone(grid: Grid) -> None:
    """A scorer fitted to that split by hand gives the same scores."""
    train, rest = parts(grid)
    assert len(train) > len(rest) > 1
    ours = scorers.fit_lit([grid.images(train)], list(train["caption"]), grid.scale.scorer)
    some = grid.index("pool").iloc[:20]
    scores = [clip_score.score(s, grid.images(some), list(some["caption"]), 20) for s in (ours, grid.scorer)]
    assert np.allclose(*scores, atol=1e-4)


def test_the_figures_of_the_scorer_are_those_of_the_held_out_pairs(grid: Grid) -> None:
    train, rest = parts(grid)
    card = files.read_json(grid.folder / "data/scorer/card.json")
    assert card["pairs"] == {"trained": len(train), "held_out": len(rest)}
    expected = grid.clip(grid.images(rest), rest["caption"]).mean()
    assert np.isclose(card["figures"]["real"], expected, atol=1e-3)
    assert abs(expected - grid.clip(grid.images(train), train["caption"]).mean()) > 0.1
    turned = pd.concat([rest["caption"].iloc[1:], rest["caption"].iloc[:1]])
    assert np.isclose(card["figures"]["shuffled"], grid.clip(grid.images(rest), turned).mean(), atol=1e-3)


def test_neither_the_scorer_nor_the_floors_hold_more_images_than_a_batch(grid: Grid) -> None:
    assert sum(grid.held["scorer"]) == len(grid.index("scorer")) + len(grid.index("evaluation"))
    assert max(grid.held["scorer"]) <= scorers.AT_ONCE < len(parts(grid)[0])
    assert sum(grid.held["floors"]) >= len(grid.index("evaluation"))
    assert max(grid.held["floors"]) <= grid.scale.evaluate.batch < grid.scale.evaluate.images


def test_the_features_are_those_of_the_evaluation_pairs_in_their_order(grid: Grid) -> None:
    found = np.load(grid.folder / "data/scorer/features.npy")
    expected = grid.features_of(grid.images(grid.index("evaluation")))
    assert np.allclose(found, expected, atol=1e-3)


def test_a_pool_without_pairs_to_fit_on_is_refused_before_any_image_is_read(
    grid: Grid, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = grid.folder / "data/bare"
    shutil.copytree(grid.folder / "data/pool", folder)
    index = pd.read_parquet(folder / store.INDEX)
    index[index["split"] != "scorer"].to_parquet(folder / store.INDEX, index=False)
    files.write_manifest(folder)
    monkeypatch.setattr(store, "images", None)
    with pytest.raises(
        Refusal, match=r"evaluate\.clip is lit, .* no pair in it \(splits\.scorer is 0\); set it"
    ):
        grid("scorer", pool="data/bare", scale="tiny", out="data/no", time_out="data/no.json")
