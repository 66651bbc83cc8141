"""What the stage sizes tells and refuses by single pairs: clusters of prompts, groups of the scorer."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from stage_grid import Grid

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools import store


def with_equal(grid: Grid, split: str, column: str) -> str:
    """A copy of the pool in which all pairs of a split have one value in a column; its folder."""
    folder = grid.folder / f"data/one-{column}"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(grid.folder / "data/pool", folder)
    index = pd.read_parquet(folder / store.INDEX)
    here = index["split"] == split
    index.loc[here, column] = index.loc[here, column].iloc[0]
    index.to_parquet(folder / store.INDEX, index=False)
    return str(folder.relative_to(grid.folder))


def test_what_decides_is_told(grid: Grid, capsys: pytest.CaptureFixture[str]) -> None:
    grid("sizes", pool="data/pool", out="data/again/sizes.json")
    assert "24 prompts and 24 references decide (evaluate.decides: once)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("split", "column", "told"),
    [
        ("evaluation", "cluster", r"evaluate\.decides is once, which leaves \d prompts and \d references"),
        ("scorer", "group", r"scorer\.batch is \d+, and there are 0 pairs to fit on"),
    ],
)
def test_what_scorer_and_floors_would_refuse_is_refused_here(
    grid: Grid, split: str, column: str, told: str
) -> None:
    pool = with_equal(grid, split, column)
    with pytest.raises(Refusal, match=told):
        grid("sizes", pool=pool, out="data/no.json")
    assert not Path(grid.folder / "data/no.json").exists()
    assert files.read_json(grid.folder / pool / store.CARD)["counts"][split]["ok"] > 40
