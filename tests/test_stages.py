"""The whole pipeline through `dvc repro`, on a tiny pool with the real networks, without git."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from workspace import Workspace, small_params


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("space"))


def test_a_mistake_ends_the_run_before_any_work_in_one_sentence(space: Workspace) -> None:
    wrong = small_params()
    wrong["scales"]["tiny"]["train"]["batch"] = 0
    space.write(wrong)
    done = space.run("repro")
    assert done.returncode != 0
    assert "scales.tiny.train.batch is 0; it should be a whole number, at least 1." in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (space.folder / "data/pool").exists()
    space.write(small_params())


def test_the_grid_runs(space: Workspace) -> None:
    ran = space.repro()
    assert len(ran) == len(set(ran)) == 8 + 5 + 2 + 3 + 3 + 1
    summary = json.loads((space.folder / "reports/summary.json").read_text())
    assert all(isinstance(value, float) for value in summary.values())
    assert "fd_full" in summary
    table = pd.read_csv(space.folder / "reports/table.csv")
    assert len(table) == 3 + 2 * 2  # the full data also at half its budget; two arms at both points
    assert (space.folder / "reports/index.html").stat().st_size > 10_000
    for selection in ("random", "alchemist"):
        kept = pd.read_parquet(space.folder / f"data/subsets/{selection}/0.5/0.parquet")["id"]
        assert len(kept) == 75
        assert kept.is_monotonic_increasing
    assert not list((space.folder / ".scratch").glob("*/state.safetensors")), "finished runs leave no state"
    assert space.repro() == []


def test_every_stage_run_twice_gives_equal_bytes(space: Workspace, forked: Path) -> None:
    """What dvc.lock says of all outs, after all stages ran again: times and the page alone may differ."""
    before = space.outs()
    space.python = forked
    done = space.run("repro", "--force")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    after = space.outs()
    assert after.keys() == before.keys()
    changed = {path for path in before if before[path] != after[path]}
    timed = {"reports/index.html", "reports/figures", "reports/verdicts.csv"}  # costs stand in them
    assert changed <= timed | {path for path in before if path.startswith("data/timings/")}
    assert "data/timings/encode/star.json" in changed, "the stages did run again"


def test_experiments_run_and_stand_in_one_readable_table(space: Workspace, forked: Path) -> None:
    """`dvc exp run -S` and `./study show` after one commit."""
    space.python = forked
    space.write(small_params())

    def git(*words: str) -> None:
        name = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *name, *words], cwd=space.folder, check=True, capture_output=True)

    git("init", "--quiet")
    (space.folder / ".gitignore").write_text("/data/\n/.scratch/\n__pycache__/\n/reports/[!s]*\n")
    (space.folder / ".dvc/config").write_text("")
    git("add", "--all")
    git("commit", "--quiet", "--message", "start")
    done = space.run("exp", "run", "--set-param", "grid.ratios=[0.3]", "--name", "three")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    new = {f"{verb}@{arm}-0.3{rest}" for arm in ("random", "alchemist")
           for verb, rest in (("prune", ""), ("train", "-xs-0"), ("evaluate", "-xs-0"))}  # fmt: skip
    assert set(re.findall(r"Running stage '([^']+)'", done.stdout)) == new | {"check", "sizes", "report"}
    assert json.loads((space.folder / "reports/summary.json").read_text())["ratio"] == 0.3
    command = [sys.executable, "-m", "stages.experiments"]
    shown = subprocess.run(command, cwd=space.folder, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr[-3000:]
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 100, shown.stdout
    place = [line.split()[0] for line in lines].index("three")
    figures = dict(zip(lines[0].split()[1:], lines[place].split()[1:], strict=True))
    found = json.loads((space.folder / "reports/summary.json").read_text())
    assert {name: float(value) for name, value in figures.items()} == {k: found[k] for k in figures}
    wanted = {f"{metric}_{arm}" for metric in ("fd", "clip", "nll") for arm in ("full", "rnd", "alc")}
    assert set(figures) == wanted
    assert lines[place + 1].split() == ["grid.ratios=[0.3]"]
