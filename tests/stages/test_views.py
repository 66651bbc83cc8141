"""What the stages floors and evaluate measure by: copies as drawn, copies counted once, and a clean split."""

import shutil
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from stage_grid import MODEL, SEED, Grid

from alchemist.core import devices, files
from alchemist.measures.distances import frechet_distance
from alchemist.models.batch import Chance
from alchemist.models.encoded import Encoded
from alchemist.models.family import Generator

Table = pd.DataFrame


@pytest.fixture(scope="module")
def sides(grid: Grid) -> tuple[Table, Table]:
    """Index rows of all prompts and references, with their views; made by the stages beside the grid's own.

    A third of the evaluation becomes a clean split; of the rest every two neighbours by id are copies. Pairs
    of the pool get every third caption of these, and a rejected pair of the pool another.
    """
    data = grid.folder / "data"
    held = grid.index("evaluation").sort_values("id")
    clean = set(held["id"].iloc[::3])
    known = held[~held["id"].isin(clean)].iloc[::3]
    cluster = {name: i // 3 for i, name in enumerate(held["id"])}
    for name in ("read", "pool", "encoded"):
        shutil.copytree(data / name, data / "views" / name)
    for path in (data / "views/pool/index.parquet", data / "views/encoded/rows.parquet"):
        table = pd.read_parquet(path)
        table["cluster"] = [
            cluster.get(one, own) for one, own in zip(table["id"], table["cluster"], strict=True)
        ]
        table["split"] = table["split"].mask(table["id"].isin(clean), "clean")
        if "caption" in table:
            usable = (table["split"] == "pool") & (table["status"] == "ok")
            table.loc[table.index[usable][: len(known)], "caption"] = known["caption"].str.upper().tolist()
            table.loc[(table["split"] == "pool") & ~usable, "caption"] = held["caption"].iloc[1]
        table.to_parquet(path, index=False)
        facts = files.read_sealed(path.with_name(files.MANIFEST))
        facts.pop("files")
        files.write_manifest(path.parent, **facts)
    params = data / "params.json"
    before = params.read_bytes()
    wanted = files.read_sealed(params)
    wanted["scales"]["tiny"]["evaluate"] |= {"images": None, "kid_subset_size": 6}
    files.write_json(params, files.sealed(wanted))
    grid.train("subset")
    try:
        grid("floors", family_name="star", pool="data/views/pool", codec="data/codec", scorer="data/scorer",
             scale="tiny", out="data/views/floors", time_out="data/views/floors.json")  # fmt: skip
        grid("evaluate", family_name="star", cell="data/models/subset", encoded="data/views/encoded",
             floors="data/views/floors", scale="tiny", out="data/views/scores",
             time_out="data/views/evaluate.json")  # fmt: skip
    finally:
        params.write_bytes(before)
    index = pd.read_parquet(data / "views/pool/index.parquet").set_index("id", drop=False)
    found = []
    for name in ("prompts", "references"):
        table = pd.read_parquet(data / f"views/floors/{name}.parquet")
        views = table[["once", "as_is", "clean", "unseen"]].to_numpy()
        side = index.loc[table["id"]].reset_index(drop=True)
        found.append(side.assign(once=views[:, 0], as_is=views[:, 1], clean=views[:, 2], unseen=views[:, 3]))
    return found[0], found[1]


@pytest.fixture(scope="module")
def scores(grid: Grid, sides: tuple[Table, Table]) -> Any:
    return files.read_json(grid.folder / "data/views/scores/figures.json")


def test_every_held_out_pair_is_a_prompt_or_a_reference_of_its_own_split(sides: tuple[Table, Table]) -> None:
    prompts, references = sides
    assert (len(prompts), len(references)) == (16 + 8, 16 + 8)
    assert not set(prompts["id"]) & set(references["id"])
    for side in sides:
        assert side["as_is"].tolist() == (side["split"] == "evaluation").tolist()
        assert side["clean"].tolist() == (side["split"] == "clean").tolist()
    once = pd.concat(sides).query("once")
    assert sorted(once["cluster"]) == list(range(16)), "each cluster once, on one side"
    assert set(once["split"]) == {"evaluation"}


def test_the_prompts_of_unseen_have_captions_of_no_usable_pair_of_the_pool(
    grid: Grid, sides: tuple[Table, Table]
) -> None:
    index = pd.read_parquet(grid.folder / "data/views/pool/index.parquet")
    held = index[(index["split"] == "pool") & (index["status"] == "ok")]["caption"].str.casefold()
    prompts, references = sides
    is_new = ~prompts["caption"].str.casefold().isin(set(held))
    assert prompts["unseen"].tolist() == (prompts["once"] & is_new).tolist()
    assert 2 <= prompts["unseen"].sum() < prompts["once"].sum()
    assert references["unseen"].tolist() == references["once"].tolist()


@torch.no_grad()
def test_each_view_has_the_figures_of_its_own_prompts_and_references(
    grid: Grid, sides: tuple[Table, Table], scores: Any
) -> None:
    prompts, references = sides
    model: Generator = grid.generator(MODEL, 99)
    at = scores["checkpoints"][-1]
    model.load_state_dict(load_file(grid.train("subset", SEED) / f"ema-{at['images']:09d}.safetensors"))
    store = Encoded(grid.folder / "data/views/encoded")
    numbers = grid.numbers(prompts["id"])
    settings, batch = grid.scale.evaluate, store.batch(numbers)
    losses = model.eval().losses(batch, Chance.run(0, 0, len(numbers))).double().numpy()
    drawn = []
    for rows in (slice(0, settings.batch), slice(settings.batch, None)):  # the stage's batches
        texts = store.batch(numbers[rows]).text
        null = store.null(len(texts), texts.states.shape[1])
        with devices.autocast("auto", torch.device("cpu")):
            drawn.append(model.sample(texts, null, Chance.run(settings.seed, 0, 24)[rows], grid.law))
    images = torch.cat(drawn).permute(0, 2, 3, 1).contiguous().numpy()
    made, real = grid.features_of(images), grid.features_of(grid.images(references))
    said = grid.clip(images, prompts["caption"])
    assert set(at["references"]) == {"once", "as_is", "clean", "unseen"}
    for name, found in at["references"].items():
        mine, theirs = prompts[name].to_numpy(), references[name].to_numpy()
        assert (found["n"], found["reference_n"]) == (mine.sum(), theirs.sum())
        assert np.isclose(found["fd_lite0"], frechet_distance(made[mine], real[theirs]), rtol=1e-4)
        assert np.isclose(found["nll"], losses[mine].mean(), rtol=1e-6)
        assert np.isclose(found["clip_lit"], said[mine].mean(), atol=1e-3)
    for figure in ("fd_lite0", "nll", "clip_lit", "kid_lite0"):
        assert at[figure] == at["references"]["once"][figure]
        assert len({round(found[figure], 4) for found in at["references"].values()}) == 4


def test_each_view_has_floors_of_real_images(grid: Grid, sides: tuple[Table, Table], scores: Any) -> None:
    prompts, references = sides
    mine, theirs = (grid.features_of(grid.images(side)) for side in sides)
    assert scores["decides"] == "once"
    for name, found in scores["reference_floors"].items():
        kept = mine[prompts[name].to_numpy()], theirs[references[name].to_numpy()]
        assert np.isclose(found["fd_lite0"], frechet_distance(*kept), rtol=1e-4)
        assert (found["n"], found["reference_n"]) == (len(kept[0]), len(kept[1]))
    sizes = {"n", "reference_n"}
    assert scores["floors"] == {
        key: value for key, value in scores["reference_floors"]["once"].items() if key not in sizes
    }
    assert all(scores[key] == scores["reference_floors"]["once"][key] for key in sizes)
    kinds = {kind: (one["n"], one["reference_n"]) for kind, one in scores["category_floors"].items()}
    assert tuple(np.sum(list(kinds.values()), axis=0)) <= (scores["n"], scores["reference_n"])
