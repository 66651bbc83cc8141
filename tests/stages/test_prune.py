"""What the stage prune passes on: whose ratings, what share, and a draw of its own for every seed."""

import numpy as np
import pandas as pd
import pytest
from stage_grid import OTHER, SEED, Grid

from alchemist.core.refusal import Refusal
from alchemist.pruning.laws import select

RATIO = 0.3  # not a half, so that what is kept is not as many as what is dropped
Subsets = dict[int, "pd.Series[str]"]


def tables(grid: Grid, equal: bool) -> dict[int, pd.DataFrame]:
    """A rating table a seed: one and the same, or each in an order of its own."""
    ids = grid.index("pool")["id"]
    rising = np.linspace(0, 1, len(ids))
    ratings = {SEED: rising[::-1], OTHER: rising[::-1] if equal else rising}
    return {
        seed: pd.DataFrame({"id": ids, "rating": rating, "lent": False}) for seed, rating in ratings.items()
    }


def pruned(grid: Grid, equal: bool) -> Subsets:
    """The ids that `alchemist` keeps, by seed."""
    name = "equal" if equal else "unequal"
    folder = grid.folder / f"data/{name}/alchemist"
    folder.mkdir(parents=True)
    for seed, table in tables(grid, equal).items():
        table.to_parquet(folder / f"{seed}.parquet", index=False)
    out = f"data/subsets/{name}"
    grid("prune", ratings=f"data/{name}", selection="alchemist", ratio=RATIO, out=out)
    return {seed: pd.read_parquet(grid.folder / out / f"{seed}.parquet")["id"] for seed in (SEED, OTHER)}


@pytest.fixture(scope="module")
def equal(grid: Grid) -> Subsets:
    return pruned(grid, equal=True)


@pytest.fixture(scope="module")
def unequal(grid: Grid) -> Subsets:
    return pruned(grid, equal=False)


def test_a_rater_without_a_table_or_with_tables_of_two_kinds_is_refused(grid: Grid) -> None:
    folder = grid.folder / "data/strange/alchemist"
    folder.mkdir(parents=True)
    options = {"ratings": "data/strange", "selection": "alchemist", "ratio": RATIO, "out": "data/no"}
    with pytest.raises(Refusal, match=r"alchemist has no table for seed 3; name the rater alchemist in a"):
        grid("prune", **options)
    for name in ("3.parquet", "all.parquet"):
        tables(grid, equal=True)[SEED].to_parquet(folder / name, index=False)
    with pytest.raises(Refusal, match=r"has 3\.parquet and all\.parquet, of two kinds of rater"):
        grid("prune", **options)
    assert not (grid.folder / "data/no").exists()


def test_every_seed_draws_anew_from_an_equal_rating(equal: Subsets) -> None:
    assert set(equal[SEED]) != set(equal[OTHER])


def test_a_seeds_draw_is_that_of_the_selection_and_the_seed(grid: Grid, equal: Subsets) -> None:
    settings = grid.params.selections["alchemist"]
    for seed, table in tables(grid, equal=True).items():
        own = settings.model_copy(update={"seed": settings.seed + seed})
        assert list(equal[seed]) == list(select(table, RATIO, own))


def test_every_seed_is_pruned_by_its_own_ratings(grid: Grid, unequal: Subsets) -> None:
    settings = grid.params.selections["alchemist"]
    for seed, table in tables(grid, equal=False).items():
        own = settings.model_copy(update={"seed": settings.seed + seed})
        assert list(unequal[seed]) == list(select(table, RATIO, own))


def test_the_share_that_the_ratio_states_is_kept(grid: Grid, equal: Subsets, unequal: Subsets) -> None:
    count = round(0.3 * len(grid.index("pool")))
    assert [len(kept) for subsets in (equal, unequal) for kept in subsets.values()] == [count] * 4


def test_higher_ratings_are_dropped_first_by_the_shift(grid: Grid, unequal: Subsets) -> None:
    ids = list(grid.index("pool")["id"])
    quarter = len(ids) // 4 - 1  # Shift-Gsample drops a quarter at this ratio
    assert not set(ids[:quarter]) & set(unequal[SEED])
    assert not set(ids[-quarter:]) & set(unequal[OTHER])


def test_cells_train_on_the_split_pool_and_the_ids_are_of_lent_pairs_too(grid: Grid) -> None:
    """What cells train on does not depend on lent pairs, whatever their ratings; the ids do."""
    folder, settings = grid.folder / "data/lent/alchemist", grid.params.selections["alchemist"]
    folder.mkdir(parents=True)
    for seed, table in tables(grid, equal=False).items():
        more = pd.DataFrame({"id": [f"lent-{i:02d}" for i in range(50)], "rating": 0.5, "lent": True})
        pd.concat([more, table]).to_parquet(folder / f"{seed}.parquet", index=False)
    grid("prune", ratings="data/lent", selection="alchemist", ratio=RATIO, out="data/subsets/lent")
    for seed, table in tables(grid, equal=False).items():
        own = settings.model_copy(update={"seed": settings.seed + seed})
        kept = pd.read_parquet(grid.folder / f"data/subsets/lent/{seed}.parquet")["id"]
        ids = pd.read_parquet(grid.folder / f"data/subsets/lent/ids-{seed}.parquet")["id"]
        assert list(kept) == list(select(table, RATIO, own))
        assert len(ids) == round(RATIO * (len(table) + 50))
        assert list(ids) == sorted(ids)
        assert any(name.startswith("lent-") for name in ids)
