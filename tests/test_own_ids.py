"""A person's folder to ids by `dvc repro prune`: every pair rated, nothing held out, no target trained."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from workspace import Workspace, small_params

PAIRS, SEED = 140, 0


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, forked: Path) -> Workspace:
    """A folder of pictures with captions beside them, sorted by subject, as pool mine."""
    space = Workspace(tmp_path_factory.mktemp("space"), forked)
    rng = np.random.default_rng(0)
    for i in range(PAIRS):
        subject = space.folder / "my-pairs" / f"subject-{i * 5 // PAIRS}"
        subject.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(subject / f"{i:03d}.png")
        (subject / f"{i:03d}.txt").write_text(f"thing number {i}")
    params = small_params()
    params["pool"] = "mine"
    params["pools"]["mine"] = {
        "format": "folder", "path": "my-pairs", "resolution": 32,
        "splits": {"meta_validation": 0.4, "evaluation": 0, "scorer": 0},
    }  # fmt: skip
    params["grid"] |= {"oracles": [], "embeddings": [], "heuristics": []}
    for rater in params["raters"].values():
        if rater["kind"] == "meta":
            rater["least_validation"] = 20
    space.write(params)
    return space


def ran(space: Workspace, *targets: str) -> list[str]:
    done = space.run("repro", *targets)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return re.findall(r"Running stage '([^']+)'", done.stdout)


def test_one_named_target_ends_with_the_ids_of_all_pairs(space: Workspace) -> None:
    found = ran(space, "prune")
    assert f"{PAIRS} pairs rated" in told(space)
    assert {name for name in found if "prune" in name} == {"prune@random-0.5", "prune@alchemist-0.5"}
    assert not [
        name for name in found if name.startswith(("train", "evaluate", "scorer", "floors", "report"))
    ]
    assert found.index("sizes") < found.index("codec@star")
    index = pd.read_parquet(space.folder / "data/pool/index.parquet")
    lent = set(index["id"][index["lent"]])
    assert 20 <= len(lent) < PAIRS / 2
    for rater in ("random", "alchemist"):
        table = pd.read_parquet(space.folder / f"data/ratings/{rater}/{SEED}.parquet")
        assert set(table["id"]) == set(index["id"])
        assert set(table["id"][table["lent"]]) == lent
        folder = space.folder / f"data/subsets/{rater}/0.5"
        ids = set(pd.read_parquet(folder / f"ids-{SEED}.parquet")["id"])
        cells = set(pd.read_parquet(folder / f"{SEED}.parquet")["id"])
        assert len(ids) == PAIRS / 2
        assert ids & lent
        assert not cells & lent


def told(space: Workspace) -> str:
    """What `python -m stages.check` says."""
    return subprocess.run(
        [space.python / "python", "-m", "stages.check"], cwd=space.folder, capture_output=True, text=True,
        check=True, env={"PYTHONPATH": str(space.folder)},
    ).stdout  # fmt: skip


def test_check_tells_no_sizes_of_a_pool_whose_copies_were_found_otherwise(space: Workspace) -> None:
    path = space.folder / "params.yaml"
    before = path.read_text()
    params = yaml.safe_load(before)
    params["pools"]["mine"]["copies"] = {"threshold": 0.95}
    space.write(params)
    assert "pairs rated" not in told(space)
    path.write_text(before)
    assert "pairs rated" in told(space)


def test_an_edit_of_a_budget_that_fits_reruns_no_slow_stage(space: Workspace) -> None:
    path = space.folder / "params.yaml"
    path.write_text(path.read_text().replace("kid_subsets: 2", "kid_subsets: 3"))
    assert ran(space, "prune") == ["check", "sizes"]


def test_who_asks_for_cells_is_told_what_is_missing_before_anything_is_trained(space: Workspace) -> None:
    done = space.run("repro", "train")
    assert done.returncode != 0
    assert "has no evaluation pair, because splits.evaluation of the pool is 0" in done.stderr
    assert not (space.folder / "data/models").exists()


def test_a_size_that_does_not_fit_ends_the_run_before_the_first_slow_stage(space: Workspace) -> None:
    path = space.folder / "params.yaml"
    path.write_text(re.sub("least_validation: 20", "least_validation: 70", path.read_text()))
    done = space.run("repro", "prune")
    assert done.returncode != 0
    assert re.search(r"least_validation is 70, and the meta-validation split has \d+ pairs", done.stderr)
    assert re.findall(r"Running stage '([^']+)'", done.stdout) == ["check", "sizes"]
