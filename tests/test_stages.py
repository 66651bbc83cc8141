"""The whole pipeline through `dvc repro`, on a tiny pool with the real networks: what runs, and what again.

The tests go through one folder, each from what the one before it left.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from forks import first_of_its_own
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


def test_a_forked_stage_ends_as_one_with_a_python_of_its_own(forked: Path, tmp_path: Path) -> None:
    """Its words, streams, folder and exit status."""

    def run(python: str | Path, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [python, "-m", "stages.verify", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    for words in ((), ("--help",), ("--none",)):
        assert run(forked / "python", *words) == run(sys.executable, *words)


def test_no_stage_of_a_workspace_opens_a_socket(space: Workspace, forked: Path) -> None:
    """Nor reads a pickle from a file: a guard stands before every Python and every fork, and it is awake."""
    script = space.folder / "stages/online.py"
    for line in (
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'', ('127.0.0.1', 9))",
        "pickle.loads(pickle.dumps(pathlib.Path))",
        "pickle.Unpickler(io.BytesIO(pickle.dumps(pathlib.Path))).load()",
    ):
        script.write_text(
            f"import io, pathlib, pickle, socket\ntry:\n    {line}\nexcept Exception:\n    pass\n"
        )
        for python in (sys.executable, str(forked / "python")):
            done = space.command(python, "-m", "stages.online")
            assert done.returncode == 99
            assert "guard: " in done.stderr
    script.unlink()


def test_the_grid_runs(space: Workspace, forked: Path, tmp_path: Path) -> None:
    """Scripts that `make quick` has no need of once where nothing is loaded for them, others where all is."""
    space.python = first_of_its_own(tmp_path, forked, ("heuristic", "embedding", "oracle"))
    ran = space.repro()
    space.python = forked
    assert len(ran) == len(set(ran)) == 8 + 5 + 2 + 3 + 3 + 2
    summary = json.loads((space.folder / "reports/summary.json").read_text())
    assert all(isinstance(value, float) for value in summary.values())
    assert "fd_full" in summary
    table = pd.read_csv(space.folder / "reports/table.csv")
    points = table["point"].value_counts()  # the full data also at half its budget, which may be its best
    assert [points[name] for name in ("equal_epochs", "equal_images", "best")] == [3, 3, 3]
    assert {"train_loss", "validation_loss"} <= set(table)
    assert (space.folder / "reports/index.html").stat().st_size > 10_000
    for selection in ("random", "alchemist"):
        kept = pd.read_parquet(space.folder / f"data/subsets/{selection}/0.5/0.parquet")["id"]
        assert len(kept) == 75
        assert kept.is_monotonic_increasing
    assert not list((space.folder / ".scratch").glob("*/state.safetensors")), "finished runs leave no state"
    assert space.repro() == []


def test_every_stage_run_twice_gives_equal_bytes(space: Workspace, tmp_path: Path) -> None:
    """All stages again, in one process and another folder: times and the page alone may differ."""
    again = space.copy(tmp_path / "again")
    assert len(again.stages_here()) == 23
    before, after = space.outs(), again.outs()
    assert after.keys() == before.keys()
    changed = {path for path in before if before[path] != after[path]}
    timed = {
        "reports/index.html",
        "reports/charts",
        "reports/figures",
        "reports/verdicts.csv",
    }  # costs stand in them
    assert changed <= timed | {path for path in before if path.startswith("data/timings/")}
    assert "data/timings/encode/star.json" in changed, "the stages did run again"


def test_a_samplers_value_reruns_its_own_cells_alone_and_further_cells_add_theirs(
    space: Workspace, forked: Path
) -> None:
    """A value by a base; a second seed, an ablation on a pixel rating, and a transfer to another model."""
    space.python = forked
    wide = small_params()
    wide["selections"]["narrow"] = wide["selections"]["alchemist"] | {"sigma": 5.0}
    wide["selections"]["alchemist"] = {"base": "narrow"}
    wide["grid"] |= {
        "seeds": [0, 1],
        "ablation": {"selections": ["clarity"], "ratios": [0.4]},
        "transfer": {"selections": ["random"], "ratios": [0.5], "models": ["xxs"]},
    }  # fmt: skip
    wide["models"]["xxs"] = wide["models"]["xs"] | {"width": 24, "heads": 2}
    wide["statistics"] = {"primary": "alchemist_random", "secondary": [], "confidence": 0.95}
    space.write(wide)
    ran = space.repro()
    arms = ("random-0.5", "alchemist-0.5")
    new = {
        "check",
        "sizes",
        "report",
        "figures",
        "train_full@full-xs-1",
        "evaluate_full@full-xs-1",
        "prune_ablation@clarity-0.4",
    }
    new |= {f"rate@{rater}-1" for rater in ("alchemist", "random")} | {f"prune@{arm}" for arm in arms}
    for verb in ("train", "evaluate"):
        new |= {f"{verb}@{arm}-xs-1" for arm in arms}
        new |= {f"{verb}_ablation@clarity-0.4-xs-{s}" for s in (0, 1)}
        new |= {f"{verb}_transfer@random-0.5-xxs-{s}" for s in (0, 1)}
    # Of what ran before, the sampler's own cell alone: no other cell, no rating, no full data.
    assert set(ran) == new | {f"{verb}@alchemist-0.5-xs-0" for verb in ("train", "evaluate")}
    subsets = [
        set(pd.read_parquet(space.folder / f"data/subsets/alchemist/0.5/{s}.parquet")["id"]) for s in (0, 1)
    ]
    assert subsets[0] != subsets[1]
    contrasts = pd.read_csv(space.folder / "reports/contrasts.csv")
    assert len(contrasts) == 1
    verdicts = pd.read_csv(space.folder / "reports/verdicts.csv")
    assert set(verdicts["claim"]) == {f"C{i}" for i in range(1, 9)}


def test_experiments_run_and_stand_in_one_readable_table(space: Workspace, forked: Path) -> None:
    """`dvc exp run -S` and `./study show` after one commit."""
    space.python = forked
    space.write(small_params())

    def git(*words: str) -> None:
        name = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
        subprocess.run(["git", *name, *words], cwd=space.folder, check=True, capture_output=True)

    space.begin_history()
    git("add", "--all")
    git("commit", "--quiet", "--message", "start")
    done = space.run("exp", "run", "--set-param", "grid.ratios=[0.3]", "--name", "three")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    new = {f"{verb}@{arm}-0.3{rest}" for arm in ("random", "alchemist")
           for verb, rest in (("prune", ""), ("train", "-xs-0"), ("evaluate", "-xs-0"))}  # fmt: skip
    assert set(re.findall(r"Running stage '([^']+)'", done.stdout)) == new | {
        "check",
        "sizes",
        "report",
        "figures",
    }
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

    # --- the same by DVC's own tables, its charts, and what brings an experiment back
    told = space.run("exp", "show", "--no-pager", "--drop", ".*", "--keep", "Experiment|(fd|nll)_.*")
    assert "three" in told.stdout, told.stderr
    assert "fd_alc" in told.stdout
    assert "grid.ratios" not in told.stdout
    for words in (
        ("metrics", "show"),
        ("plots", "show"),
        ("plots", "diff", "HEAD"),
        ("exp", "apply", "three"),
    ):
        done = space.run(*words)
        assert done.returncode == 0, done.stderr[-3000:]
    assert "grid.ratios=[0.3]" in lines[place + 1]
