"""A rater that was trained rates without training: as stage rate does, by any number of processes."""

import contextlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from stage_grid import SEED, Grid

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.passes.run import Engine
from alchemist.pools.index import part
from alchemist.raters import shipped
from alchemist.raters.scoring import READ
from stages import score

BATCH = {"kind": "meta", "group": "double_softmax", "rating_mode": "batch", "bound": None}


@pytest.fixture(scope="module")
def rater(grid: Grid) -> Path:
    """The folder of a rater that was trained on the grid's pool."""
    grid.rate("alchemist")
    return Path(f"data/raters/alchemist/{SEED}")


@pytest.fixture(scope="module")
def whole(grid: Grid, rater: Path) -> Path:
    """The folder of its ratings of the pool, by one process in several shards."""
    return scored(grid, rater, "small")


def scored(grid: Grid, rater: Path, name: str, **changes: Any) -> Path:
    """The folder that the stage leaves, relative to the grid's."""
    options: dict[str, Any] = {
        "rows": 64, "batch": 20, "device": "cpu", "task": None, "of": None, "engine": Engine.HERE,
        "address": None, "gpus": 0, "codec": Path("data/codec"), "pool": Path("data/pool"),
    }  # fmt: skip
    with contextlib.chdir(grid.folder):
        score.run(rater=rater, out=Path("data/scored") / name, **options | changes)
    return grid.folder / "data/scored" / name


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "all.parquet")


def test_ratings_are_those_of_the_stage_rate_whatever_the_shards(
    grid: Grid, rater: Path, whole: Path
) -> None:
    trained = grid.rate("alchemist")
    found = {}
    ways = {
        "one": scored(grid, rater, "one", rows=4096, batch=250),
        "small": whole,
        "odd": scored(grid, rater, "odd", rows=31, batch=7),
    }
    for name, folder in ways.items():
        one = table(folder).set_index("id")
        assert one.index.is_unique
        assert set(one.index) == set(trained.index)  # every rated pair, and no rejected one
        assert not one["lent"].any()
        found[name] = one.loc[trained.index, "rating"].to_numpy()
        assert np.abs(found[name] - found["one"]).max() < 1e-5 * trained.std()
        assert (np.argsort(found[name]) == np.argsort(found["one"])).all()
    # Theirs are of states in bfloat16 where that is fast.
    assert np.abs(found["one"] - trained.to_numpy()).max() < 0.02 * trained.std()
    assert trained.corr(pd.Series(found["one"], trained.index), method="spearman") > 0.999


@pytest.mark.parametrize("name", ["alchemist_groups", "alchemist_groups_embedding", "alchemist_within"])
def test_groups_of_captions_are_told_by_what_the_rater_ships(grid: Grid, name: str) -> None:
    trained = grid.rate(name)
    folder = Path(f"data/raters/{name}/{SEED}")
    found = table(scored(grid, folder, name)).set_index("id").loc[trained.index, "rating"]
    # Their states are not in bfloat16 here, by which a pair may lie nearer to another centroid.
    assert trained.corr(found, method="spearman") > 0.99
    facts = files.read_json(grid.folder / folder / "rating.json")["groups"]
    assert sum(one["pairs"] for one in facts) == len(trained)
    assert sum(one["pairs"] * one["weight"] for one in facts) == pytest.approx(len(trained))
    alike = all(one["weight"] == pytest.approx(1) for one in facts)
    assert alike == (name == "alchemist_within")
    sources = {**grid.params.raters[name].model_dump(), "groups": {"by": "source"}}
    with pytest.raises(Refusal, match=r"rates by groups of sources, which are those of the pool emoji alone"):
        scored(grid, altered(grid, folder, f"{name}-source", rater=sources), "no")


def test_a_launcher_s_processes_leave_the_same_bytes(
    grid: Grid, rater: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for rank in ("1", "0", "2"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "3")
        parts = scored(grid, rater, "parts")
        assert (parts / "all.parquet").exists() == (rank == "2")
    for path in (whole / "shards").iterdir():
        if path.is_file():
            assert path.read_bytes() == (parts / "shards" / path.name).read_bytes()
    assert (whole / "all.parquet").read_bytes() == (parts / "all.parquet").read_bytes()


def test_the_table_is_one_that_prune_takes(grid: Grid, whole: Path) -> None:
    folder = grid.folder / "data/scored/alchemist"
    shutil.copytree(whole, folder, ignore=shutil.ignore_patterns("shards"))
    grid("prune", ratings="data/scored", selection="alchemist", ratio=0.5, out="data/subsets/scored")
    kept = pd.read_parquet(grid.folder / f"data/subsets/scored/ids-{SEED}.parquet")["id"]
    assert len(kept) == round(len(table(folder)) / 2)


def test_the_card_tells_what_the_rater_is_made_of(grid: Grid, rater: Path) -> None:
    folder = grid.folder / rater
    card = files.read_json(folder / "card.json")
    assert card["weights_sha256"] == files.sha256(folder / "rater.safetensors")
    assert card["initial_sha256"] == shipped.digest(grid.rater(SEED).state_dict())
    assert card["initial_sha256"] != card["weights_sha256"]
    assert card["codec"] == grid.codec.digest
    assert card["text"] == {"kind": "minilm", "pieces": 8}
    assert (card["family"], card["pool"], card["seed"]) == ("star", "emoji", SEED)
    assert card["trunk"] == grid.params.models["xxs"].model_dump()
    assert card["figures"]["rating_sd"] == pytest.approx(grid.rate("alchemist").std(ddof=0))
    group = load_file(folder / "reference.safetensors")
    assert len(group["logits"]) == grid.scale.rate.reference_group


def altered(grid: Grid, folder: Path, name: str, /, **changes: Any) -> Path:
    """A copy of the folder whose card says something else."""
    out = grid.folder / "data/altered" / name
    shutil.copytree(grid.folder / folder, out)
    card = files.read_json(out / "card.json") | changes
    files.write_json(out / "card.json", card)
    (out / "manifest.json").unlink()
    files.write_manifest(out)
    return out


def test_what_it_was_not_trained_beside_is_refused_in_a_sentence(grid: Grid, rater: Path) -> None:
    for name, changes, told in (
        ("codec", {"codec": "0" * 64}, r"rates what the codec 0{12} of star encoded, and"),
        ("text", {"text_sha256": "1" * 64}, r"text encoder 1{12}, and all-MiniLM-L6-v2 here is"),
        ("batch", {"rater": BATCH}, r"rates by rating_mode batch"),
        ("trunk", {"trunk": grid.params.models["xs"].model_dump()}, r"does not fit its own card"),
        ("text-kind", {"text": {"kind": "qwen"}}, r"card\.json is of another version of this repo"),
        ("null", {"codec": None}, r"card\.json is of another version of this repo"),
        ("strange", {"more": 1}, r"card\.json is of another version of this repo"),
    ):  # fmt: skip
        with pytest.raises(Refusal, match=told):
            scored(grid, altered(grid, rater, name, **changes), f"no-{name}")
        assert not (grid.folder / f"data/scored/no-{name}/all.parquet").exists()
    with pytest.raises(
        Refusal, match=r"is no rater's, since it has no rater\.safetensors; one of kind meta leaves"
    ):
        scored(grid, Path("data/pool"), "no")
    damaged = altered(grid, rater, "damaged")
    content = (damaged / "rater.safetensors").read_bytes()
    (damaged / "rater.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(
        Refusal, match=r"rater\.safetensors is not the file that its manifest describes; copy the"
    ):
        scored(grid, damaged, "no")


def test_another_rater_in_the_same_folder_is_refused(grid: Grid, rater: Path, whole: Path) -> None:
    folder = shutil.copytree(whole, grid.folder / "data/scored/mixed")
    with pytest.raises(Refusal, match=r"all\.parquet is there and not of this pass"):
        scored(grid, rater, "mixed", batch=10)
    (folder / "all.parquet").rename(folder / "old.parquet")
    with pytest.raises(Refusal, match=r"holds shards of another pass: batch is 20 there and 10 here"):
        scored(grid, rater, "mixed", batch=10)
    (folder / "old.parquet").rename(folder / "all.parquet")
    before = (folder / "all.parquet").read_bytes()
    scored(grid, rater, "mixed")  # once more: nothing to do, the same table
    assert (folder / "all.parquet").read_bytes() == before


def test_rows_of_the_index_are_read_by_their_row_groups(grid: Grid, tmp_path: Path) -> None:
    index = pd.read_parquet(grid.folder / "data/pool/index.parquet")
    index.to_parquet(tmp_path / "index.parquet", index=False, row_group_size=50)
    for start, count in ((0, 10), (45, 10), (49, 1), (50, 50), (100, 130), (len(index) - 3, 10)):
        found = part(tmp_path, start, count, READ)
        expected = index.iloc[start : start + count]
        assert found["id"].tolist() == expected["id"].tolist()
        assert set(found.columns) == set(READ)


def test_a_carried_rater_of_another_codec_is_refused(grid: Grid, rater: Path) -> None:
    folder = altered(grid, rater, "elsewhere", codec="0" * 64)
    ours = grid.folder / "data/others/ours"
    ours.mkdir(parents=True)
    shutil.copytree(folder, ours / str(SEED))
    with pytest.raises(
        Refusal, match=r"raters\.carried\.weights names .*, which reads what the codec 0{12} gives"
    ):
        grid(
            "rate", rater="carried", seed=SEED, family_name="star", encoded="data/encoded",
            assets="data/others", scale="tiny", out="data/no.parquet", log_out="data/no",
            time_out="data/no.json", scratch=".scratch",
        )  # fmt: skip
    assert json.loads((ours / f"{SEED}/card.json").read_text())["seed"] == SEED
