"""What the stage prune passes on: whose ratings, and a draw of its own for every seed."""

import numpy as np
import pandas as pd
import pytest
from stage_grid import SEED, Grid

from alchemist.pruning.laws import select


@pytest.fixture(scope="module")
def subsets(grid: Grid) -> dict[int, "pd.Series[str]"]:
    """The ids that `alchemist` keeps at a half, by seed. Both seeds have one and the same rating table."""
    ids = grid.index("pool")["id"]
    folder = grid.folder / "data/equal/alchemist"
    folder.mkdir(parents=True)
    for seed in (SEED, 4):
        table = pd.DataFrame({"id": ids, "rating": np.linspace(1, 0, len(ids))})
        table.to_parquet(folder / f"{seed}.parquet", index=False)
    grid("prune", ratings="data/equal", selection="alchemist", ratio=0.5, out="data/subsets/alchemist/0.5")
    return {
        seed: pd.read_parquet(grid.folder / f"data/subsets/alchemist/0.5/{seed}.parquet")["id"]
        for seed in (SEED, 4)
    }


def test_every_seed_draws_anew_from_an_equal_rating(subsets: dict[int, "pd.Series[str]"]) -> None:
    assert set(subsets[SEED]) != set(subsets[4])


def test_a_seeds_draw_is_that_of_the_selection_and_the_seed(
    grid: Grid, subsets: dict[int, "pd.Series[str]"]
) -> None:
    ids = grid.index("pool")["id"]
    settings = grid.params.selections["alchemist"]
    for seed, kept in subsets.items():
        table = pd.DataFrame({"id": ids, "rating": np.linspace(1, 0, len(ids))})
        own = settings.model_copy(update={"seed": settings.seed + seed})
        assert list(kept) == list(select(table, 0.5, own))


def test_higher_ratings_are_dropped_first_by_the_shift(
    grid: Grid, subsets: dict[int, "pd.Series[str]"]
) -> None:
    ids = list(grid.index("pool")["id"])
    top = set(ids[: len(ids) // 4 - 1])  # Shift-Gsample drops a quarter at a half
    assert not top & set(subsets[SEED])
