"""What the stage evaluate passes on: the weights, the pairs behind each metric, the captions, the noise."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from stage_grid import MODEL, OTHER, SEED, Grid

from alchemist.core import devices, files
from alchemist.measures.distances import frechet_distance, kernel_distance
from alchemist.models.batch import Chance
from alchemist.models.family import Generator
from stages import evaluate

# Of a cell of 60 of 150 pairs, trained on 128 images in batches of 16: 40 % of them, and all.
POINTS = {64: ["equal_epochs"], 128: ["equal_images", "best"]}


def checkpoint(grid: Grid, name: str, seed: int, images: int) -> Generator:
    model = grid.generator(MODEL, 99)
    model.load_state_dict(load_file(grid.train(name, seed) / f"ema-{images:09d}.safetensors"))
    return model.eval()


@torch.no_grad()
def pictures(grid: Grid, model: Generator) -> Any:
    """An image of each prompt, with its own caption and the noise of its number."""
    settings = grid.scale.evaluate
    numbers = grid.numbers(grid.sides()[0]["id"])
    chance = Chance.run(settings.seed, 0, len(numbers))
    parts = []
    # In the stage's batches: bfloat16 products turn a token at the margin with the batch.
    for rows in (slice(0, settings.batch), slice(settings.batch, None)):
        captions = grid.encoded.batch(numbers[rows]).text
        null = grid.encoded.null(len(captions), captions.states.shape[1])
        with devices.autocast("auto", torch.device("cpu")):
            parts.append(model.sample(captions, null, chance[rows], grid.law))
    return torch.cat(parts).permute(0, 2, 3, 1).contiguous().numpy()


@pytest.fixture(scope="module")
def models(grid: Grid) -> dict[int, Generator]:
    return {images: checkpoint(grid, "subset", SEED, images) for images in POINTS}


@pytest.fixture(scope="module")
def drawn(grid: Grid, models: dict[int, Generator]) -> dict[int, Any]:
    """Images of the prompts, by checkpoint."""
    return {images: pictures(grid, model) for images, model in models.items()}


@pytest.fixture(scope="module")
def found(grid: Grid, models: dict[int, Generator]) -> dict[int, dict[str, Any]]:
    """The stage's figures, by checkpoint."""
    return {checkpoint["images"]: checkpoint for checkpoint in grid.score("subset")["checkpoints"]}


def test_every_checkpoint_has_its_own_names(found: dict[int, dict[str, Any]]) -> None:
    assert {images: checkpoint["points"] for images, checkpoint in found.items()} == POINTS


def test_the_distances_are_to_real_references_and_to_coded_ones(
    grid: Grid, drawn: dict[int, Any], found: dict[int, dict[str, Any]]
) -> None:
    settings = grid.scale.evaluate
    images = grid.images(grid.sides()[1])
    real, coded = (grid.features_of(x) for x in (images, grid.codec.reconstruct(images)))
    distances = {}
    for seen, ours in drawn.items():
        made = grid.features_of(ours)
        distances[seen] = frechet_distance(made, real)
        fd_coded = frechet_distance(made, coded)
        kid, spread = kernel_distance(
            made, real, settings.kid_subsets, settings.kid_subset_size, settings.seed
        )
        assert abs(distances[seen] - fd_coded) > 1
        assert np.isclose(found[seen]["fd_lite0"], distances[seen], rtol=1e-4)
        assert np.isclose(found[seen]["fd_lite0_coded"], fd_coded, rtol=1e-4)
        assert np.isclose(found[seen]["kid_lite0"], kid, atol=1e-4)
        assert np.isclose(found[seen]["kid_lite0_sd"], spread, atol=1e-4)
    assert abs(distances[64] - distances[128]) > 1, "each checkpoint is measured by its own weights"


@torch.no_grad()
def test_nll_is_that_of_the_prompts_own_pairs_with_their_captions(
    grid: Grid, models: dict[int, Generator], found: dict[int, dict[str, Any]]
) -> None:
    numbers = grid.numbers(grid.sides()[0]["id"])
    batch = grid.encoded.batch(numbers)
    expected = {}
    for seen, model in models.items():
        expected[seen] = float(model.losses(batch, Chance.run(0, 0, len(numbers))).double().mean())
        assert np.isclose(found[seen]["nll"], expected[seen], rtol=1e-6)
    assert abs(expected[64] - expected[128]) > 0.01
    assert grid.score("subset")["likelihood"] == models[128].likelihood


def test_the_score_is_of_each_image_and_its_own_caption(
    grid: Grid, drawn: dict[int, Any], found: dict[int, dict[str, Any]]
) -> None:
    words = grid.sides()[0]["caption"]
    turned = [*words[1:], words.iloc[0]]
    for seen, images in drawn.items():
        expected = grid.clip(images, words).mean()
        assert np.isclose(found[seen]["clip_lit"], expected, atol=1e-3)
        assert abs(expected - grid.clip(images, turned).mean()) > 0.01


def test_every_cell_draws_the_same_noise_whatever_its_seed(grid: Grid) -> None:
    ours = pictures(grid, checkpoint(grid, "seed-4", OTHER, 128))
    assert grid.score("seed-4")["cell"] == "seed-4"
    sheet = np.asarray(Image.open(grid.folder / "data/scores/seed-4/sheet-000000128.png"))
    assert np.array_equal(sheet, np.concatenate(list(ours[: grid.scale.evaluate.grid]), axis=1))


def test_every_checkpoint_has_the_sheet_of_its_own_images(
    grid: Grid, drawn: dict[int, Any], found: dict[int, dict[str, Any]]
) -> None:
    assert not np.array_equal(drawn[64], drawn[128])
    for seen, images in drawn.items():
        sheet = np.asarray(Image.open(grid.folder / "data/scores/subset" / found[seen]["sheet"]))
        assert np.array_equal(sheet, np.concatenate(list(images[: grid.scale.evaluate.grid]), axis=1)), seen


def test_the_figures_tell_with_what_the_training_began(grid: Grid) -> None:
    ran, told = files.read_json(grid.train("subset") / "run.json"), grid.score("subset")
    for name in ("initial_sha256", "ids_sha256"):
        assert told[name] == ran[name]


def test_a_cell_keeps_its_own_seed_and_counts_epochs_by_its_subset(
    grid: Grid, found: dict[int, dict[str, Any]]
) -> None:
    assert grid.score("subset")["seed"] == SEED
    assert [checkpoint["epochs"] for checkpoint in found.values()] == [64 / 60, 128 / 60]


def test_the_floors_are_passed_on(grid: Grid) -> None:
    card = files.read_json(grid.folder / "data/floors/card.json")
    assert grid.score("subset")["floors"] == card["floors"]


def test_every_category_is_measured_by_its_own_images_and_references(
    grid: Grid, drawn: dict[int, Any], found: dict[int, dict[str, Any]]
) -> None:
    settings = grid.scale.evaluate
    prompts, references = grid.sides()
    mine, theirs = (np.array(grid.categories(side)) for side in (prompts, references))
    real = grid.features_of(grid.images(references))
    assert set(found[64]["categories"]) == set(found[128]["categories"]) == {"art", "food"}
    for seen, images in drawn.items():
        made, scores = grid.features_of(images), grid.clip(images, prompts["caption"])
        for kind, one in found[seen]["categories"].items():
            assert one["n"] == (mine == kind).sum() > 2
            assert np.isclose(one["clip_lit"], scores[mine == kind].mean(), atol=1e-3)
            kid, _ = kernel_distance(
                made[mine == kind], real[theirs == kind], settings.kid_subsets, settings.kid_subset_size,
                settings.seed,
            )  # fmt: skip
            assert np.isclose(one["kid_lite0"], kid, atol=1e-4)
    floors = files.read_json(grid.folder / "data/floors/card.json")
    assert grid.score("subset")["category_floors"] == floors["category_floors"]


def test_a_killed_evaluation_goes_on_behind_the_last_checkpoint_that_it_measured(
    grid: Grid, found: dict[int, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    loaded: list[str] = []

    def load(path: Path) -> dict[str, torch.Tensor]:
        loaded.append(path.name)
        if len(loaded) == 2:
            raise KilledError
        return load_file(path)

    monkeypatch.setattr(evaluate, "load_file", load)
    options = {
        "family_name": "star", "cell": "data/models/subset", "encoded": "data/encoded",
        "floors": "data/floors", "scale": "tiny",
        "out": "data/scores/resumed", "time_out": "data/timings/evaluate/resumed.json",
    }  # fmt: skip
    with pytest.raises(KilledError):
        grid("evaluate", **options)
    grid("evaluate", **options)
    assert loaded == ["ema-000000064.safetensors", *["ema-000000128.safetensors"] * 2]
    ours, whole = (grid.folder / f"data/scores/{name}" for name in ("resumed", "subset"))
    assert files.read_json(ours / "figures.json") == files.read_json(whole / "figures.json")
    for seen in POINTS:
        name = f"sheet-{seen:09d}.png"
        assert (ours / name).read_bytes() == (whole / name).read_bytes()
    assert sorted(path.name for path in ours.iterdir()) == sorted(path.name for path in whole.iterdir())
