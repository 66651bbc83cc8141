"""What the stage floors passes on: the references, and the pairs behind each floor."""

from pathlib import Path

import numpy as np
import pandas as pd
from stage_grid import Grid

from alchemist.core import files
from alchemist.measures.distances import frechet_distance, kernel_distance
from stages.floors import with_category


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
        "fd_spread": np.square(other - other.mean(0)).sum() / (len(other) - 1),
        "psnr_reconstruction": np.mean(
            [
                10 * np.log10(255**2 / np.square(grid.codec.reconstruct(x) - x.astype(float)).mean((1, 2, 3)))
                for x in (images, grid.images(references))
            ]
        ),
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
    assert np.diff(sorted(value for name, value in expected.items() if name.startswith("fd"))).min() > 0.1


def test_where_every_pair_is_prompt_and_reference_both_are_all_pairs(grid: Grid) -> None:
    """As the paper measures by MJHQ-30K: the floor of the distance is 0, before and after the codec."""
    path = grid.folder / "data/params.json"
    before = path.read_bytes()
    params, pairs = files.read_sealed(path), grid.index("evaluation")
    params["scales"]["tiny"]["evaluate"] |= {"references": "all", "images": len(pairs)}
    files.write_json(path, files.sealed(params))
    try:
        grid("floors", family_name="star", pool="data/pool", codec="data/codec", scorer="data/scorer",
             scale="tiny", out="data/whole", time_out="data/whole.json")  # fmt: skip
    finally:
        path.write_bytes(before)
    listed = [
        list(pd.read_parquet(grid.folder / f"data/whole/{x}.parquet")["id"])
        for x in ("prompts", "references")
    ]
    assert listed == [list(pairs["id"])] * 2
    coded = grid.features_of(grid.codec.reconstruct(grid.images(pairs)))
    assert np.allclose(np.load(grid.folder / "data/whole/coded.npy"), coded, atol=1e-3)
    floors = files.read_json(grid.folder / "data/whole/card.json")["floors"]
    assert abs(floors["fd_lite0"]) < 1e-6 > abs(floors["fd_lite0_coded"])
    assert floors["fd_reconstruction"] > 1


def test_prompts_and_references_keep_their_category(grid: Grid) -> None:
    for name, rows in zip(("prompts", "references"), grid.sides(), strict=True):
        kept = pd.read_parquet(grid.folder / f"data/floors/{name}.parquet")
        assert list(kept.columns) == ["id", "caption", "category", "once"]
        assert kept["once"].all(), "no copies, so all are in the only view"
        assert list(kept["category"]) == grid.categories(rows)
    card = files.read_json(grid.folder / "data/floors/card.json")
    prompts, references = grid.sides()
    mine, theirs = (np.array(grid.categories(side)) for side in (prompts, references))
    for kind, found in card["category_floors"].items():
        assert (found["n"], found["reference_n"]) == ((mine == kind).sum(), (theirs == kind).sum())
        own = prompts[mine == kind]
        assert np.isclose(found["clip_lit"], grid.clip(grid.images(own), own["caption"]).mean(), atol=1e-3)
        assert ("kid_lite0" in found) == (min(found["n"], found["reference_n"]) >= 2)
    assert set(card["category_floors"]) == {"art", "food"}


def test_a_pool_without_categories_has_none(tmp_path: Path) -> None:
    rows = pd.DataFrame({"id": ["a", "b", "c"], "caption": ["", "", ""]})
    rows.to_parquet(tmp_path / "index.parquet")
    assert with_category(tmp_path, rows) is rows
    table = pd.DataFrame({"id": ["c", "a", "z"], "category": ["food", None, "art"], "more": [1, 2, 3]})
    table.to_parquet(tmp_path / "facts.parquet")
    assert list(with_category(tmp_path, rows)["category"]) == ["", "", "food"]
    pd.DataFrame({"id": ["b"], "category": ["art"]}).to_parquet(tmp_path / "further.parquet")
    assert list(with_category(tmp_path, rows)["category"]) == ["", "art", "food"]
