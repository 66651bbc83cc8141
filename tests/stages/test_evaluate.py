"""What the stages floors and evaluate pass on: the pairs behind each metric, the noise, the weights."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from stage_grid import MODEL, Grid

from alchemist.measures import clip_score, distances, features, generator
from alchemist.models.batch import Chance
from alchemist.models.encoded import EvaluationRows
from alchemist.models.family import Generator


@pytest.fixture(scope="module")
def cell(grid: Grid) -> Generator:
    """The last checkpoint of a cell."""
    model = grid.generator(MODEL, 99)
    last = sorted(grid.train("subset").glob("ema-*"))[-1]
    model.load_state_dict(load_file(last))
    return model.eval()


def sides(grid: Grid) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The evaluation pairs that are prompts, and those that are references."""
    rows, n = grid.index("evaluation"), grid.scale.evaluate.images
    return rows.iloc[len(rows) - n :], rows.iloc[: len(rows) - n]


def extractor(grid: Grid) -> features.Extractor:
    return features.extractor(grid.scale.evaluate.features, grid.scale.evaluate.feature_size)


def pictures(grid: Grid, model: Generator) -> np.ndarray:
    prompts = grid.numbers(sides(grid)[0]["id"])
    rows = EvaluationRows(prompts, prompts, prompts[:0])
    return generator.generate(model, grid.encoded, rows, grid.law, grid.scale.evaluate, lambda n: None)


def test_references_and_prompts_share_no_pair(grid: Grid) -> None:
    prompts, references = sides(grid)
    listed = pd.read_parquet(grid.folder / "data/floors/references.parquet")["id"]
    assert list(listed) == list(references["id"])
    assert not set(listed) & set(prompts["id"])


def test_the_distances_are_to_real_references_and_to_coded_ones(grid: Grid, cell: Generator) -> None:
    settings, by = grid.scale.evaluate, extractor(grid)
    images = grid.images(sides(grid)[1])
    found = features.extract(pictures(grid, cell), by, settings.batch)
    real = features.extract(images, by, settings.batch)
    coded = features.extract(grid.codec.reconstruct(images), by, settings.batch)
    last = grid.score("subset")["checkpoints"][-1]
    fd, fd_coded = (distances.frechet_distance(found, side) for side in (real, coded))
    assert abs(fd - fd_coded) > 1
    assert np.isclose(last["fd_lite0"], fd, rtol=1e-4)
    assert np.isclose(last["fd_lite0_coded"], fd_coded, rtol=1e-4)
    kid = distances.kernel_distance(
        found, real, settings.kid_subsets, settings.kid_subset_size, settings.seed
    )
    assert np.isclose(last["kid_lite0"], kid[0], atol=1e-4)


@torch.no_grad()
def test_nll_is_that_of_the_prompts_own_pairs_with_their_captions(grid: Grid, cell: Generator) -> None:
    numbers = grid.numbers(sides(grid)[0]["id"])
    batch = grid.encoded.batch(numbers)
    expected = cell.losses(batch, Chance.run(0, 0, len(numbers))).double().mean()
    found = grid.score("subset")
    assert np.isclose(found["checkpoints"][-1]["nll"], float(expected), rtol=1e-6)
    assert found["likelihood"] == cell.likelihood


def test_every_cell_draws_the_same_noise_whatever_its_seed(grid: Grid) -> None:
    grid.train("seed-4", seed=4)
    model = grid.generator(MODEL, 99)
    model.load_state_dict(load_file(sorted((grid.folder / "data/models/seed-4").glob("ema-*"))[-1]))
    sheet = np.asarray(Image.open(grid.folder / f"data/scores/{grid.score('seed-4')['cell']}.png"))
    side = sheet.shape[0]
    assert np.array_equal(sheet[:, :side], pictures(grid, model.eval())[0])


def test_the_score_is_of_each_image_and_its_own_caption(grid: Grid, cell: Generator) -> None:
    judge = clip_score.load_scorer("lit", grid.folder / "data/scorer")
    words = list(sides(grid)[0]["caption"])
    batch = grid.scale.evaluate.batch
    expected = clip_score.score(judge, pictures(grid, cell), words, batch).mean()
    turned = clip_score.score(judge, pictures(grid, cell), words[1:] + words[:1], batch).mean()
    found = grid.score("subset")["checkpoints"][-1]["clip_lit"]
    assert np.isclose(found, expected, atol=1e-3)
    assert abs(expected - turned) > 0.01


def test_floors_compare_the_prompts_own_images_with_the_references(grid: Grid) -> None:
    settings, by = grid.scale.evaluate, extractor(grid)
    prompts, references = (features.extract(grid.images(side), by, settings.batch) for side in sides(grid))
    coded = features.extract(grid.codec.reconstruct(grid.images(sides(grid)[0])), by, settings.batch)
    found = grid.score("subset")["floors"]
    assert np.isclose(found["fd_lite0"], distances.frechet_distance(prompts, references), rtol=1e-4)
    assert np.isclose(found["fd_reconstruction"], distances.frechet_distance(coded, references), rtol=1e-4)


def test_a_cell_keeps_its_own_seed_and_counts_epochs_by_its_subset(grid: Grid) -> None:
    found = grid.score("subset")
    assert found["seed"] == 3
    assert [c["epochs"] for c in found["checkpoints"]] == [c["images"] / 60 for c in found["checkpoints"]]
