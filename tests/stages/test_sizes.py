"""What the stage sizes tells and refuses by single pairs: clusters of prompts, groups of the scorer."""

import shutil
from pathlib import Path
from typing import Any

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
    files.write_manifest(folder)
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


@pytest.mark.parametrize("name", [store.CARD, store.INDEX, files.MANIFEST])
@pytest.mark.parametrize("stage", ["sizes", "oracle", "codec"])
def test_whoever_reads_a_table_of_the_pool_tells_damage_by_its_hash(
    grid: Grid, tmp_path: Path, stage: str, name: str
) -> None:
    """A bit in a count or in a page of Parquet would give other sizes, ratings and fits, or a traceback."""
    options: dict[str, Any] = {
        "sizes": {"out": "data/no.json"},
        "oracle": {"truth": "data/truth", "out": "data/ratings/no.parquet"},
        "codec": {"family_name": "star", "pool_name": "emoji", "assets": tmp_path, "out": "data/no",
                  "scratch": ".scratch", "time_out": "data/no.json"},
    }[stage]  # fmt: skip
    path, params = grid.folder / "data/pool" / name, grid.folder / "data/params.json"
    whole, given = path.read_bytes(), params.read_bytes()
    refit = files.read_sealed(params)
    refit["codecs"]["star"] |= {"refit": True}
    files.write_json(params, files.sealed(refit))
    path.write_bytes(whole[:60] + bytes([whole[60] ^ 1]) + whole[61:])
    try:
        with pytest.raises(Refusal, match=rf"{name} is (damaged|not the file that its manifest describes)"):
            grid(stage, pool="data/pool", **options)
    finally:
        path.write_bytes(whole)
        params.write_bytes(given)
