"""The stage codec: a folder a family, with a card and a manifest, which the family opens."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from stage_grid import Grid
from tiny import REPO

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.models import family
from alchemist.pools import store

ASSETS = REPO / "assets/codecs"


def make(grid: Grid, name: str, changes: dict[str, Any] | None = None, pool: str = "data/pool") -> Path:
    """The folder of a family's codec, with `changes` of params.yaml that are taken back."""
    path = grid.folder / "data/params.json"
    before = files.read_sealed(path)
    files.write_json(path, files.sealed(before | (changes or {})))
    try:
        grid(
            "codec", family_name=name, pool_name="emoji", pool=pool, assets=ASSETS,
            out="data/made", scratch=".scratch", time_out="data/timings/made.json",
        )  # fmt: skip
    finally:
        files.write_json(path, files.sealed(before))
    return grid.folder / "data/made"


@pytest.mark.parametrize("name", ["star", "flux"])
def test_a_family_opens_what_it_made(grid: Grid, name: str) -> None:
    made = make(grid, name)
    assert files.check_manifest(made)["files"]
    assert (made / "card.json").is_file()
    images = grid.images(grid.index("evaluation").iloc[:3])
    codec = family.load(name).codec(made, torch.device("cpu"))
    assert codec.reconstruct(images).shape == images.shape == (3, 32, 32, 3)


def test_the_tokenizer_of_the_repo_is_copied_byte_by_byte(grid: Grid) -> None:
    made = make(grid, "star")
    asset = ASSETS / grid.params.codecs["star"].model_dump()["asset"]
    names = sorted(path.name for path in asset.iterdir())
    assert sorted(path.name for path in made.iterdir()) == names
    assert all((made / name).read_bytes() == (asset / name).read_bytes() for name in names)


def test_a_tokenizer_is_fitted_to_the_pool_and_leaves_no_state(
    grid: Grid, capsys: pytest.CaptureFixture[str]
) -> None:
    fit = {"images": 200, "batch": 1, "pairs": 64, "perceptual": 0.0, "codes": 4, "width": 8}
    star = {"asset": "none", "refit": True, "fit": fit | {"seed": 3}}
    made = make(grid, "star", {"codecs": {"star": star}})
    card = files.read_json(made / "card.json")
    assert card["config"]["codes"] == 4
    assert card["fit"]["seed"] == 3
    assert (card["fit"]["pairs"], card["fit"]["images"]) == (64, 200)
    told = capsys.readouterr().out
    assert (
        "fitting a tokenizer to 64 images, 200 seen with repeats (codecs.star.fit.images): about 1 min"
        in told
    )
    assert told.index("fitting") < told.index("wrote")
    images = grid.images(grid.index("evaluation"))
    coded = family.load("star").codec(made, torch.device("cpu")).reconstruct(images)
    error = ((images.astype(float) - coded) ** 2).mean(axis=(1, 2, 3))
    assert card["psnr"] == pytest.approx(
        float((10 * torch.log10(255**2 / torch.tensor(error))).mean()), abs=1e-6
    )
    assert not list((grid.folder / ".scratch").glob("*"))


@pytest.mark.parametrize(
    ("left", "told"),
    [("meta_val", "dB on 40 held-out images"), ("", "no image is held out to measure it on")],
)
def test_a_fit_to_a_pool_without_an_evaluation_split_ends_all_the_same(
    grid: Grid, capsys: pytest.CaptureFixture[str], left: str, told: str
) -> None:
    folder = grid.folder / "data/unmeasured"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(grid.folder / "data/pool", folder)
    index = pd.read_parquet(folder / store.INDEX)
    index[index["split"].isin(["pool", left])].to_parquet(folder / store.INDEX, index=False)
    files.write_manifest(folder)
    fit = {"images": 200, "batch": 1, "pairs": 64, "perceptual": 0.0, "codes": 4, "width": 8}
    changes = {"codecs": {"star": {"asset": "none", "refit": True, "fit": fit}}}
    made = make(grid, "star", changes, "data/unmeasured")
    assert (files.read_json(made / "card.json")["psnr"] is not None) == bool(left)
    assert told in capsys.readouterr().out


def test_a_tokenizer_of_another_resolution_is_refused_and_nothing_is_written(grid: Grid) -> None:
    pools = files.read_sealed(grid.folder / "data/params.json")["pools"]
    smaller = {"pools": pools | {"emoji": pools["emoji"] | {"resolution": 16}}}
    with pytest.raises(
        Refusal, match=r"^codecs\.star\.asset is 'emoji32', a tokenizer of 32 pixels, .*have 16; refit: true"
    ):
        make(grid, "star", smaller)
    assert not list((grid.folder / "data").glob("*made*draft*"))
