"""What the stage floors passes on: the references, and the pairs behind each floor."""

import numpy as np
import pandas as pd
from stage_grid import Grid

from alchemist.core import files
from alchemist.measures.distances import frechet_distance, kernel_distance


def test_references_and_prompts_share_no_pair(grid: Grid) -> None:
    prompts, references = grid.sides()
    listed = pd.read_parquet(grid.folder / "data/floors/references.parquet")["id"]
    assert list(listed) == list(references["id"])
    assert not set(listed) & set(prompts["id"])


def test_the_features_of_the_references_are_kept_before_and_after_the_codec(grid: Grid) -> None:
    images = grid.images(grid.sides()[1])
    for name, expected in (("real", images), ("coded", grid.codec.reconstruct(images))):
        found = np.load(grid.folder / f"data/floors/{name}.npy")
        assert np.allclose(found, grid.features_of(expected), atol=1e-3)


def test_every_floor_is_of_the_prompts_own_images_and_captions(grid: Grid) -> None:
    settings = grid.scale.evaluate
    prompts, references = grid.sides()
    images = grid.images(prompts)
    coded = grid.codec.reconstruct(images)
    real, after = grid.features_of(images), grid.features_of(coded)
    other, other_after = (
        grid.features_of(x)
        for x in (grid.images(references), grid.codec.reconstruct(grid.images(references)))
    )
    kid = kernel_distance(real, other, settings.kid_subsets, settings.kid_subset_size, settings.seed)[0]
    expected = {
        "fd_lite0": frechet_distance(real, other),
        "fd_lite0_coded": frechet_distance(after, other_after),
        "fd_reconstruction": frechet_distance(after, other),
        "kid_lite0": kid,
        "clip_lit": grid.clip(images, prompts["caption"]).mean(),
        "clip_lit_reconstruction": grid.clip(coded, prompts["caption"]).mean(),
    }
    found = files.read_json(grid.folder / "data/floors/card.json")["floors"]
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert np.isclose(found[name], value, rtol=1e-4, atol=1e-4), name
    # What another side or another caption would give is farther off than that.
    assert abs(expected["clip_lit"] - grid.clip(images, references["caption"]).mean()) > 0.01
    assert np.diff(sorted(expected[name] for name in expected if name.startswith("fd"))).min() > 0.1
