"""The whole pipeline through `dvc repro`, on a tiny pool with the real networks, without git."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from tiny import REPO, tiny_params


def small_params() -> dict[str, Any]:
    """A grid that takes every stage, on networks so small that the start of a stage is most of its time."""
    params = tiny_params()
    params["grid"] |= {
        "oracles": ["oracle"], "heuristics": ["clarity"], "embeddings": ["clip_score"],
    }  # fmt: skip
    params["models"]["xs"] |= {"depth": 1, "width": 48}
    return params


class Workspace:
    """A copy of the repo with its own params, and no git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("alchemist", "stages", "assets", "reports/pools"):
            shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(REPO / name, folder / name)
        self.write(small_params())
        self.run("init", "--no-scm", "--quiet")

    def write(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dvc", *words],
            cwd=self.folder,
            env={
                **os.environ,
                "OMP_NUM_THREADS": "1",
                "DVC_NO_ANALYTICS": "1",
                "COLUMNS": "120",
                "GIT_AUTHOR_NAME": "test",
                "GIT_AUTHOR_EMAIL": "test@example.com",
                "GIT_COMMITTER_NAME": "test",
                "GIT_COMMITTER_EMAIL": "test@example.com",
                "PYTHONPATH": str(self.folder),
                # dvc runs `python`, which should be the one of these tests.
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            },
            capture_output=True,
            text=True,
            check=False,
        )

    def outs(self) -> dict[str, str]:
        """The digest of every out, by dvc.lock."""
        locked = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"].values()
        return {out["path"]: out["md5"] for stage in locked for out in stage["outs"]}

    def repro(self) -> list[str]:
        """Runs the pipeline; gives the names of the stages that ran."""
        done = self.run("repro")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return re.findall(r"Running stage '([^']+)'", done.stdout)


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
    assert len(ran) == len(set(ran)) == 6 + 5 + 2 + 3 + 3 + 1
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


def test_every_stage_run_twice_gives_equal_bytes(space: Workspace) -> None:
    """What dvc.lock says of all outs, after all stages ran again: times and the page alone may differ."""
    before = space.outs()
    done = space.run("repro", "--force")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    after = space.outs()
    assert after.keys() == before.keys()
    changed = {path for path in before if before[path] != after[path]}
    timed = {"reports/index.html", "reports/figures", "reports/verdicts.csv"}  # costs stand in them
    assert changed <= timed | {path for path in before if path.startswith("data/timings/")}
    assert "data/timings/encode.json" in changed, "the stages did run again"


def test_an_added_ratio_computes_only_what_is_new(space: Workspace) -> None:
    more = small_params()
    more["grid"]["ratios"] = [0.5, 0.3]
    space.write(more)
    new = {f"{verb}@{arm}-0.3{rest}" for arm in more["grid"]["selections"]
           for verb, rest in (("prune", ""), ("train", "-xs-0"), ("evaluate", "-xs-0"))}  # fmt: skip
    assert set(space.repro()) == new | {"check", "report"}


def test_a_samplers_value_reruns_its_own_cells_alone(space: Workspace) -> None:
    changed = small_params()
    changed["selections"]["alchemist"]["sigma"] = 5.0
    space.write(changed)
    ran = set(space.repro())
    assert {"prune@alchemist-0.5", "train@alchemist-0.5-xs-0", "report"} <= ran
    assert not {name for name in ran if "random" in name or name.startswith(("rate", "train_full"))}


def test_a_second_seed_and_further_cells_run_and_add_nothing_else(space: Workspace) -> None:
    """A second seed, an ablation on a pixel rating, and a transfer to another model."""
    wide = small_params()
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
    new = {"check", "report", "train_full@xs-1", "evaluate_full@xs-1", "prune_ablation@clarity-0.4"}
    new |= {f"rate@{rater}-1" for rater in ("alchemist", "random")} | {f"prune@{arm}" for arm in arms}
    for verb in ("train", "evaluate"):
        new |= {f"{verb}@{arm}-xs-1" for arm in arms}
        new |= {f"{verb}_ablation@clarity-0.4-xs-{s}" for s in (0, 1)}
        new |= {f"{verb}_transfer@random-0.5-xxs-{s}" for s in (0, 1)}
    # The sampler's value of the test before is taken back: its cell of seed 0 comes from the run cache.
    assert new <= set(ran) <= new | {f"{verb}@alchemist-0.5-xs-0" for verb in ("train", "evaluate")}
    subsets = [
        set(pd.read_parquet(space.folder / f"data/subsets/alchemist/0.5/{s}.parquet")["id"]) for s in (0, 1)
    ]
    assert subsets[0] != subsets[1]
    contrasts = pd.read_csv(space.folder / "reports/contrasts.csv")
    assert len(contrasts) == 1
    verdicts = pd.read_csv(space.folder / "reports/verdicts.csv")
    assert set(verdicts["claim"]) == {f"C{i}" for i in range(1, 9)}


def test_experiments_run_and_stand_in_one_readable_table(space: Workspace) -> None:
    """`dvc exp run -S` and `./study show` after one commit."""
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
    assert not re.search(r"Running stage '(rate|train)", done.stdout), "only the report is new"
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
