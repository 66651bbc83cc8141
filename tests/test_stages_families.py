"""A grid of two families of models, by the commands that DVC has for it, in one process."""

import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from report_helpers import part, text
from workspace import Workspace, small_params

from alchemist.analysis.words import DASH
from alchemist.core import files
from alchemist.core.settings.model import classes

ARMS = ("alchemist", "alchemist_flux")


def two_families() -> dict[str, Any]:
    """A model of each family on the ratings of each."""
    params = small_params()
    other = {"proxy": "flux_xs", "rater": "flux_xs", "raters": ["alchemist_flux"], "models": ["flux_xs"]}
    params["grid"] |= {
        "oracles": [], "heuristics": [], "embeddings": [], "families": ["star", "flux"],
        "selections": [*ARMS], "raters": ["alchemist"], "others": {"flux": other},
    }  # fmt: skip
    params["models"]["flux_xs"] |= {"heads": 1}
    params["scales"]["tiny"]["sample"]["flux"] = {"steps": 2}
    return params


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder in which every stage of the grid ran, in an order that DVC may take; its commands."""
    space = Workspace(tmp_path_factory.mktemp("space"))
    space.write(two_families())
    return space.folder, space.stages_here()


def test_every_stage_of_a_family_reads_its_own_folders(made: tuple[Path, list[str]]) -> None:
    _, commands = made
    families = {}
    for command in commands:
        words = shlex.split(command)
        name = words[2].removeprefix("stages.")
        if "--family" in words:
            family = words[words.index("--family") + 1]
            families.setdefault(name, []).append(family)
            other = {"star": "flux", "flux": "star"}[family]
            assert not [word for word in words if word.startswith("data/") and f"/{other}" in word]
    both = ["flux", "star"]
    assert {name: sorted(found) for name, found in families.items()} == {
        "codec": both, "encode": both, "floors": both, "rate": both,
        "pretrain": ["flux"], "train": sorted(both * 3), "evaluate": sorted(both * 3),
    }  # fmt: skip
    assert len(commands) == len(set(commands)) == 5 + 6 + 2 + 2 + 1 + 12 + 2


def test_a_rating_is_of_the_family_whose_list_names_it(made: tuple[Path, list[str]]) -> None:
    folder, commands = made
    ratings = {
        name: pd.read_parquet(folder / f"data/ratings/{name}/0.parquet").set_index("id")["rating"]
        for name in ARMS
    }
    first, second = ratings.values()
    assert set(first.index) == set(second.index)
    assert abs(first.corr(second.reindex(first.index), method="spearman")) < 0.999
    [flux] = [command for command in commands if "--rater alchemist_flux" in command]
    assert "--family flux" in flux
    kept = [set(pd.read_parquet(folder / f"data/subsets/{name}/0.5/0.parquet")["id"]) for name in ARMS]
    assert kept[0] != kept[1]


def test_a_model_that_adapts_nothing_starts_from_nothing_and_its_page_bills_no_pretraining(
    made: tuple[Path, list[str]],
) -> None:
    folder, _ = made
    assert {path.name for path in (folder / "data/pretrained/flux_xs").iterdir()} == {
        "manifest.json",
        "run.json",
    }
    assert "pretrained" not in files.read_json(folder / "data/models/full-flux_xs-0/run.json")
    assert "pretrain@" not in (folder / "reports/index.html").read_text()


def test_cells_of_both_stand_in_one_table_and_none_has_a_made_up_nll(made: tuple[Path, list[str]]) -> None:
    folder, _ = made
    table = pd.read_csv(folder / "reports/table.csv")
    families = {}
    for name in table["cell"].unique():
        held = files.read_json(folder / f"data/scores/{name}/figures.json")
        families[name] = held["family"]
        assert classes(held["family"]).MODEL.has_likelihood == (held["likelihood"] is not None)
        assert [("nll" in at) for at in held["checkpoints"]] == [held["likelihood"] is not None] * len(
            held["checkpoints"]
        )
    assert Counter(families.values()) == {"star": 3, "flux": 3}
    assert (table["nll"].isna() == (table["cell"].map(families) == "flux")).all()
    assert table.drop(columns=["nll", "rater"]).notna().all(axis=None)
    floors = {
        name: files.read_json(folder / f"data/floors/{name}/card.json")["floors"] for name in ("star", "flux")
    }
    assert floors["flux"]["fd_reconstruction"] == pytest.approx(floors["flux"]["fd_lite0"], rel=1e-4)
    assert floors["star"]["fd_reconstruction"] > 1.02 * floors["star"]["fd_lite0"]


def test_the_page_keeps_the_families_apart(made: tuple[Path, list[str]]) -> None:
    folder, _ = made
    page = (folder / "reports/index.html").read_text()
    results = text(part(page, "results")).split("Equal ")
    of_flux = [said for said in results if said.startswith(("epochs, model flux", "images, model flux"))]
    assert len(of_flux) == 2
    assert not [said for said in of_flux if "NLL" in said.partition("100 %")[0] or "paper:" in said]
    floors = {
        name: files.read_json(folder / f"data/floors/{name}/card.json")["floors"] for name in ("star", "flux")
    }
    for said, family in zip(results[1:], ("star", "star", "flux", "flux"), strict=True):
        rebuilt = floors[family]["fd_reconstruction"]
        assert re.search(rf"through the image codec {rebuilt:,.1f} ", said), family
    assert "Models of the family flux have no likelihood" in text(page)
    drawn = {path.stem for path in (folder / "reports/charts").iterdir()}
    assert {"curve-xs-nll", "curve-flux_xs-fd", "rating-train_loss-star", "rating-train_loss-flux"} <= drawn
    assert "curve-flux_xs-nll" not in drawn
    beside = text(part(page, "paper")).replace("\N{NO-BREAK SPACE}", " ")
    for row in (
        "50 % rated by flux star alchemist_flux xs",
        "50 % rated by star flux alchemist flux_xs",
        "50 % rated by flux flux alchemist_flux flux_xs",
        f"full 100 % {DASH} flux full flux_xs",
    ):
        assert row in beside
    assert "flux_xs for FLUX-mini-3B-LoRA" in beside
    assert len(re.findall(r"Samples of \S+-flux_xs-0", page)) == 3
    assert {"star.config.resolution", "flux.resolution"} <= set(re.findall(r"<dt>([\w.]+)</dt>", page))
