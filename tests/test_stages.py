"""The whole pipeline through `dvc repro`, on a tiny pool with the real networks, without git."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from tiny import REPO, tiny_params


class Workspace:
    """A copy of the repo with its own params, and no git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("alchemist", "stages", "assets", "reports/pools"):
            shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(REPO / name, folder / name)
        self.write(tiny_params())
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

    def repro(self) -> list[str]:
        """Runs the pipeline; gives the names of the stages that ran."""
        done = self.run("repro")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return re.findall(r"Running stage '([^']+)'", done.stdout)


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("space"))


def test_a_mistake_ends_the_run_before_any_work_in_one_sentence(space: Workspace) -> None:
    wrong = tiny_params()
    wrong["scales"]["tiny"]["train"]["batch"] = 0
    space.write(wrong)
    done = space.run("repro")
    assert done.returncode != 0
    assert "scales.tiny.train.batch is 0; it should be a whole number, at least 1." in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (space.folder / "data/pool").exists()
    space.write(tiny_params())


def test_the_grid_runs_and_an_added_ratio_computes_only_what_is_new(space: Workspace) -> None:
    ran = space.repro()
    assert len(ran) == len(set(ran)) == 6 + 2 + 2 + 3 + 3 + 1
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

    more = tiny_params()
    more["grid"]["ratios"] = [0.5, 0.3]
    space.write(more)
    new = {f"{verb}@{arm}-0.3{rest}" for arm in ("random", "alchemist")
           for verb, rest in (("prune", ""), ("train", "-xs-0"), ("evaluate", "-xs-0"))}  # fmt: skip
    assert set(space.repro()) == new | {"check", "report"}


def test_a_samplers_value_reruns_its_own_cells_alone(space: Workspace) -> None:
    changed = tiny_params()
    changed["grid"]["ratios"] = [0.5, 0.3]
    changed["selections"]["alchemist"]["sigma"] = 5.0
    space.write(changed)
    ran = set(space.repro())
    assert {"prune@alchemist-0.5", "train@alchemist-0.3-xs-0", "report"} <= ran
    assert not {name for name in ran if "random" in name or name.startswith(("rate", "train_full"))}


def test_seeds_raters_of_every_list_and_further_cells_run_and_add_nothing_else(space: Workspace) -> None:
    """A second seed, an ablation on a pixel rating and one on fixed features, and a transfer."""
    wide = tiny_params()
    wide["grid"] |= {
        "seeds": [0, 1], "heuristics": ["clarity"], "embeddings": ["clip_score"],
        "ablation": {"selections": ["clarity", "clip_score"], "ratios": [0.3]},
        "transfer": {"selections": ["random"], "ratios": [0.5], "models": ["xxs"]},
    }  # fmt: skip
    wide["models"]["xxs"] = wide["models"]["xs"] | {"depth": 1, "width": 48}
    wide["statistics"] = {"primary": "alchemist_random", "secondary": [], "confidence": 0.95}
    space.write(wide)
    ran = space.repro()
    arms = ("random-0.5", "alchemist-0.5")
    new = {
        "check",
        "report",
        "heuristic@clarity",
        "embedding@clip_score",
        "train_full@xs-1",
        "evaluate_full@xs-1",
    }
    new |= {f"rate@{rater}-1" for rater in ("alchemist", "random")} | {f"prune@{arm}" for arm in arms}
    new |= {f"prune_ablation@{name}-0.3" for name in ("clarity", "clip_score")}
    for verb in ("train", "evaluate"):
        new |= {f"{verb}@{arm}-xs-1" for arm in arms}
        new |= {f"{verb}_ablation@{n}-0.3-xs-{s}" for n in ("clarity", "clip_score") for s in (0, 1)}
        new |= {f"{verb}_transfer@random-0.5-xxs-{s}" for s in (0, 1)}
    assert set(ran) == new, "cells of seed 0 stand as they were"
    subsets = [
        set(pd.read_parquet(space.folder / f"data/subsets/alchemist/0.5/{s}.parquet")["id"]) for s in (0, 1)
    ]
    assert subsets[0] != subsets[1]
    contrasts = pd.read_csv(space.folder / "reports/contrasts.csv")
    assert len(contrasts) == 1
    verdicts = pd.read_csv(space.folder / "reports/verdicts.csv")
    assert set(verdicts["claim"]) == {f"C{i}" for i in range(1, 9)}
    space.write(tiny_params())
    space.repro()


def test_experiments_run_and_stand_in_one_readable_table(space: Workspace) -> None:
    """`dvc exp run -S` and `dvc exp show` after one commit."""

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
    shown = space.run(
        "exp", "show", "--only-changed", "--drop", r"Created|.*\.(py|csv|j2)|data|assets|params"
    )
    assert shown.returncode == 0, shown.stderr[-3000:]
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 120, shown.stdout
    assert any("three" in line and "0.3" in line for line in lines), shown.stdout


def test_a_rater_that_was_trained_elsewhere_rates_as_it_is_and_is_not_trained(space: Workspace) -> None:
    def rate(weights: str, trunk: str) -> subprocess.CompletedProcess[str]:
        params = tiny_params()
        params["raters"]["alchemist"]["weights"] = weights
        params["models"]["xxs"] = params["models"]["xs"] | {"depth": 1, "width": 48}
        space.write(params)
        command = [
            sys.executable, "-m", "stages.rate", "--rater", "alchemist", "--seed", "0", "--proxy", "xs",
            "--trunk", trunk, "--encoded", "data/encoded/star", "--codec", "data/tokenizer",
            "--family", "star", "--assets", "assets/raters", "--scale", "tiny", "--out", "data/again.parquet",
            "--log-out", "data/again", "--scratch", ".scratch",
        ]  # fmt: skip
        return subprocess.run(command, cwd=space.folder, capture_output=True, text=True, check=False)

    (space.folder / "assets/raters/mine").mkdir()
    shutil.copy(
        space.folder / "data/raters/alchemist/0/rater.safetensors",
        space.folder / "assets/raters/mine/0.safetensors",
    )
    done = rate("mine", "xs")
    assert done.returncode == 0, done.stderr[-3000:]
    trained, carried = (
        pd.read_parquet(space.folder / name)
        for name in ("data/ratings/alchemist/0.parquet", "data/again.parquet")
    )
    assert list(trained["id"]) == list(carried["id"])
    assert np.allclose(trained["rating"], carried["rating"], rtol=1e-5)  # of other numbers of threads
    bill = json.loads((space.folder / "data/again/rating.json").read_text())
    assert bill["train_flops"] == 0 < bill["score_flops"]
    for weights, trunk, words in (
        ("yours", "xs", "raters.alchemist.weights names assets/raters/yours/0.safetensors, which is missing"),
        (
            "mine",
            "xxs",
            "raters.alchemist.weights names assets/raters/mine/0.safetensors, which does not fit",
        ),
    ):
        done = rate(weights, trunk)
        assert done.returncode == 1
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    shutil.rmtree(space.folder / "assets/raters/mine")
    space.write(tiny_params())


def test_damaged_data_are_told_in_a_sentence(space: Workspace) -> None:
    tokens = space.folder / "data/encoded/star/tokens-00000.npy"
    before = tokens.read_bytes()
    os.chmod(tokens, 0o644)
    tokens.write_bytes(before[:-2] + b"\x01\x00")
    command = [
        sys.executable, "-m", "stages.train", "--family", "star", "--encoded", "data/encoded/star",
        "--codec", "data/tokenizer", "--model", "xs", "--seed", "0", "--scale", "tiny",
        "--out", "data/x", "--scratch", ".scratch",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=space.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "tokens-00000.npy is not the file that its manifest describes" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (space.folder / "data/x").exists()
