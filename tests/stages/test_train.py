"""What the stage train passes on: which pairs, which seed, which weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from stage_grid import MODEL, OTHER, SEED, Grid
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.models.batch import Chance
from alchemist.models.encoded import PoolRows
from alchemist.models.training import points, train

Weights = dict[int, dict[str, torch.Tensor]]


def expected(grid: Grid, tmp_path: Path, ids: "pd.Series[str]", seed: int) -> Weights:
    """Averaged weights by images seen, of a run on ids without the stage."""
    settings, pool = grid.scale.train, len(grid.index("pool"))
    stops = [point.images for point in points(settings, len(ids) / pool)]
    found: Weights = {}
    with Scratch(tmp_path, f"{seed}-{len(ids)}" + "0" * 16) as state:
        train(
            grid.generator(MODEL, seed), grid.encoded, PoolRows(grid.numbers(ids)), settings, seed, stops,
            state,
            lambda seen, model: found.update({seen: {k: v.clone() for k, v in model.state_dict().items()}}),
            lambda images, words: None,
        )  # fmt: skip
    return found


def written(folder: Path) -> Weights:
    return {int(path.stem.removeprefix("ema-")): load_file(path) for path in sorted(folder.glob("ema-*"))}


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(
        torch.equal(values[name], b[images][name]) for images, values in a.items() for name in values
    )


def test_a_cell_is_trained_on_the_ids_of_its_subset_with_its_own_seed(grid: Grid, tmp_path: Path) -> None:
    found = written(grid.train("subset"))
    assert same(found, expected(grid, tmp_path, grid.subset(), SEED))


def test_another_seed_is_another_cell(grid: Grid, tmp_path: Path) -> None:
    found = written(grid.train("seed-4", seed=OTHER))
    assert not same(found, written(grid.train("subset")))
    assert same(found, expected(grid, tmp_path, grid.subset(), OTHER))


def test_without_a_subset_a_cell_is_trained_on_the_whole_pool(grid: Grid, tmp_path: Path) -> None:
    found = written(grid.train("full", subset=None))
    assert same(found, expected(grid, tmp_path, grid.index("pool")["id"], SEED))
    ran = files.read_json(grid.folder / "data/models/full/run.json")
    assert ran["subset_pairs"] == ran["pool_pairs"] == len(grid.index("pool"))


@pytest.mark.parametrize("split", ["meta_val", "evaluation"])
def test_a_subset_with_a_pair_of_another_split_is_refused(grid: Grid, split: str) -> None:
    strange = grid.index(split)["id"].iloc[:1]
    ids = pd.concat([grid.index("pool")["id"].iloc[:9], strange])
    ids.to_frame("id").to_parquet(grid.folder / "data/strange.parquet", index=False)
    with pytest.raises(Refusal, match="not among the encoded pairs of the split pool"):
        grid(
            "train", family_name="star", encoded="data/encoded", model=MODEL, seed=0,
            out="data/models/strange", time_out="data/no.json", scratch=".scratch",
            subset="data/strange.parquet",
        )  # fmt: skip
    assert not (grid.folder / "data/models/strange").exists()


def test_the_points_count_epochs_by_the_subset(grid: Grid) -> None:
    ran = files.read_json(grid.train("subset") / "run.json")
    share, images = 60 / len(grid.index("pool")), grid.scale.train.images
    named = {name: point["images"] for point in ran["points"] for name in point["names"]}
    assert named["equal_images"] == images
    assert np.isclose(named["equal_epochs"], share * images, atol=grid.scale.train.batch)


def test_the_bill_counts_a_forward_and_two_backward_passes_of_every_image(grid: Grid) -> None:
    ran = files.read_json(grid.train("subset") / "run.json")
    batch, images = grid.scale.train.batch, grid.scale.train.images
    assert ran["points"][0]["images"] < images
    pairs = grid.encoded.batch(grid.numbers(grid.index("pool")["id"])[:batch])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        grid.generator(MODEL, SEED).losses(pairs, Chance.run(0, 0, batch))
    assert np.isclose(ran["train_flops"], 3 * counter.get_total_flops() / batch * images)
