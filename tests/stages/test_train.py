"""What the stage train passes on: which pairs, which seed, which weights."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from stage_grid import MODEL, OTHER, PROXY, SEED, Grid
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import files, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.state import digest
from alchemist.models.batch import Chance
from alchemist.models.course import checkpoint, with_best
from alchemist.models.encoded import PoolRows
from alchemist.models.family import Generator
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


def test_arms_of_one_model_and_seed_begin_with_equal_weights_and_each_tells_its_ids(grid: Grid) -> None:
    """Against networks and ids without the stage; digests are of neither the subset's file nor its order."""
    grid.train("subset"), grid.train("full", subset=None), grid.train("seed-4", seed=OTHER)
    ids = grid.subset()
    ids.iloc[::-1].to_frame("id").to_parquet(grid.folder / "data/turned.parquet", compression="gzip")
    for name, model in (("turned", MODEL), ("other-model", PROXY)):
        grid(
            "train", family_name="star", encoded="data/encoded", model=model, seed=SEED,
            out=f"data/models/{name}", time_out=f"data/timings/train/{name}.json", scratch=".scratch",
            subset="data/turned.parquet",
        )  # fmt: skip
    ran = {
        name: files.read_json(grid.folder / f"data/models/{name}/run.json")
        for name in ("subset", "turned", "full", "seed-4", "other-model")
    }
    begun = {name: one["initial_sha256"] for name, one in ran.items()}
    assert begun["subset"] == begun["turned"] == begun["full"]
    assert len({begun["subset"], begun["seed-4"], begun["other-model"]}) == 3
    assert begun["seed-4"] == digest(grid.generator(MODEL, OTHER).state_dict())
    trained = {name: one["ids_sha256"] for name, one in ran.items()}
    assert trained["subset"] == trained["turned"] == fingerprint.of_ids(ids)
    assert trained["full"] == fingerprint.of_ids(grid.index("pool")["id"])
    assert trained["full"] != trained["subset"]


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


def test_the_checkpoint_of_least_loss_on_held_out_pairs_is_the_best(grid: Grid) -> None:
    """Against losses of the written weights, pair by pair and without the stage."""
    folder = grid.train("subset")
    ran, data = files.read_json(folder / "run.json"), grid.encoded
    held = grid.index("meta_val")["id"]
    own = grid.index("pool")["id"]
    own = own[own.isin(grid.subset())][: len(held)]
    assert len(own) == len(held) == 40

    def mean(ids: "pd.Series[str]", model: Generator) -> float:
        numbers = grid.numbers(ids)
        with torch.no_grad():
            return float(
                np.mean(
                    [
                        float(
                            model.losses(
                                data.batch(numbers[i : i + 1]), Chance(0, data.positions(numbers[i : i + 1]))
                            )
                        )
                        for i in range(40)
                    ]
                )
            )

    model, found = grid.generator(MODEL, 0).eval(), {}
    for point in ran["points"]:
        model.load_weights(load_file(folder / checkpoint(point["images"])))
        assert np.isclose(point["validation_loss"], mean(held, model), rtol=1e-5)
        assert np.isclose(point["train_loss"], mean(own, model), rtol=1e-5)
        found[point["images"]] = point["validation_loss"]
    best = [point["images"] for point in ran["points"] if "best" in point["names"]]
    assert best == [min(found, key=lambda images: found[images])]


@pytest.mark.parametrize(("held", "best"), [([3.0, 2.0, 2.5], [64]), ([2.0, 2.0, 3.0], [32]), (None, [])])
def test_one_point_is_best_by_the_held_out_loss_alone(held: list[float] | None, best: list[int]) -> None:
    points = [
        {"images": n, "names": [name]} for n, name in ((32, "curve"), (64, "curve"), (96, "equal_images"))
    ]
    losses = {
        n: {"train_loss": float(-n), **({"validation_loss": held[i]} if held else {})}
        for i, n in enumerate((32, 64, 96))
    }  # fmt: skip
    found = with_best(points, losses)
    assert [point["images"] for point in found if "best" in point["names"]] == best
    assert all(point["names"] == ["best"] for point in found if point["images"] in best)
    assert [point["train_loss"] for point in found] == [-32.0, -64.0, -96.0]


def test_the_bill_counts_a_forward_and_two_backward_passes_of_every_image(grid: Grid) -> None:
    ran = files.read_json(grid.train("subset") / "run.json")
    batch, images = grid.scale.train.batch, grid.scale.train.images
    assert ran["points"][0]["images"] < images
    pairs = grid.encoded.batch(grid.numbers(grid.index("pool")["id"])[:batch])
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        grid.generator(MODEL, SEED).losses(pairs, Chance.run(0, 0, batch))
    assert np.isclose(ran["train_flops"], 3 * counter.get_total_flops() / batch * images)
