"""What the stage oracle passes on: the planted kind of each usable pair of the pool."""

import pandas as pd
from stage_grid import Grid


def test_informative_pairs_are_rated_one_and_every_other_kind_zero(grid: Grid) -> None:
    grid("oracle", pool="data/pool", truth="data/truth", out="data/ratings/oracle/all.parquet")
    found = pd.read_parquet(grid.folder / "data/ratings/oracle/all.parquet")
    assert sorted(found["id"]) == sorted(grid.index("pool")["id"])
    kinds = pd.read_parquet(grid.folder / "data/truth/truth.parquet").set_index("id")["kind"]
    ratings = found.groupby(kinds.loc[found["id"]].to_numpy())["rating"].unique().map(list).to_dict()
    others = ("plain", "chaotic", "mismatched", "degraded", "duplicate")
    assert ratings == {"informative": [1.0], **{kind: [0.0] for kind in others}}
