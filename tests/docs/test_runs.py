"""Commands of the docs that no other test runs and that take seconds."""

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from doc_pages import commands
from tiny import REPO
from workspace import Workspace, small_params


def test_a_plan_of_params_laid_over_is_written(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    words = ("-m", "stages.plan", "-S", "grid.ratios=[0.3]", "--json", "p.json")
    done = space.command(sys.executable, *words)
    assert done.returncode == 0, done.stderr
    assert "would run" in done.stdout
    assert json.loads((tmp_path / "p.json").read_text())


def test_an_experiment_settles_another_pool_and_runs_nothing_after_it(tmp_path: Path) -> None:
    space = Workspace(tmp_path)
    params = small_params()
    params["pools"]["other"] = {"base": params["pool"], "seed": 5}
    space.write(params)
    space.begin_history()
    for words in (("add", "--all"), ("commit", "--quiet", "--message", "start")):
        assert space.command("git", *words).returncode == 0
    done = space.run("exp", "run", "copies", "-S", "pool=other")
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.findall(r"Running stage '([^']+)'", done.stdout) == ["check", "prepare", "copies"]
    assert set(pd.read_parquet(tmp_path / "data/pool/index.parquet")["source"]) == {"other"}


def test_the_schema_is_made_anew(tmp_path: Path) -> None:
    for name in ("alchemist", "stages"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        [sys.executable, "-m", "stages.schema"], cwd=tmp_path, check=True, env={"PYTHONPATH": str(tmp_path)}
    )
    assert (tmp_path / "params.schema.json").read_bytes() == (REPO / "params.schema.json").read_bytes()


def test_the_closure_of_a_stage_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.closure", "stages.train", "star"], cwd=REPO, capture_output=True,
        text=True, check=True, env={"PYTHONPATH": f"{REPO}:{REPO / 'tests'}"},
    )  # fmt: skip
    assert "alchemist/families/star/generator.py" in done.stdout
    assert "families/flux" not in done.stdout


NAMED = sorted(
    {found[1] for one in commands(REPO) if (found := re.match(r"python -m (benchmarks\.\w+)", str(one)))}
)


@pytest.mark.parametrize("name", NAMED)
def test_a_benchmark_that_is_named_can_begin(name: str) -> None:
    assert callable(importlib.import_module(name).main)
    assert "__main__" in (REPO / f"{name.replace('.', '/')}.py").read_text()
