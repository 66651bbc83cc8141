"""What DVC costs where nothing is to be done: `dvc repro` of this repo beside one of one trivial stage.

The outs are made up, a small file each, and committed, so that a grid of 200 stages takes no day of training:
what DVC reads, parses and compares is the real dvc.yaml, params.yaml, dvc.lock and code.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from dvc.repo import Repo

from alchemist.core import files
from alchemist.params.sources import passed_on
from benchmarks import given
from benchmarks.ratio import Ratio

HERE = Path(__file__).resolve().parents[1]
# Stages, about: selections and seeds of the grid.
SIZES = given.sized({42: (1, 4), 200: (8, 5)}, {42: (1, 4)})
FILES = {".json", ".parquet", ".csv", ".html", ".py"}
ENVIRONMENT = {**os.environ, "DVC_NO_ANALYTICS": "1"}


def dvc(folder: Path, *words: str) -> None:
    """Runs dvc in a folder."""
    subprocess.run(
        [sys.executable, "-m", "dvc", *words], cwd=folder, check=True, capture_output=True, env=ENVIRONMENT
    )


def trivial(folder: Path) -> Path:
    """A repo with one stage, which has run."""
    folder.mkdir()
    (folder / "dvc.yaml").write_text("stages: {one: {cmd: echo 1 > out, outs: [out]}}\n")
    dvc(folder, "init", "--no-scm", "--quiet")
    dvc(folder, "repro", "--quiet")
    return folder


def grid(folder: Path, selections: int | None = None, seeds: int | None = None) -> Path:
    """This repo with made-up outs: its own grid, or one of so many selections and seeds."""
    kept = shutil.ignore_patterns(
        "__pycache__", "data", "dvc.lock", ".git", ".dvc", ".venv", ".scratch", ".*_cache"
    )
    shutil.copytree(HERE, folder, ignore=kept)
    params = given.params(folder)
    if selections is not None and seeds is not None:
        names = [name for name, block in params["selections"].items() if block["rater"] == "alchemist"]
        lists = {"selections": names[:selections], "raters": ["alchemist"], "seeds": list(range(seeds))}
        params["grid"] |= lists | {"ratios": [0.5, 0.2]}
        (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    dvc(folder, "init", "--no-scm", "--quiet")
    with Repo(folder) as repo:
        outs = {Path(out.fs_path) for stage in repo.index.stages for out in stage.outs}
        deps = {Path(dep.fs_path) for stage in repo.index.stages for dep in stage.deps}
    for path in outs | deps:  # a dep may lie in another stage's folder
        if path.suffix in FILES:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(str(path.relative_to(folder)))
        elif path in outs:
            path.mkdir(parents=True, exist_ok=True)
            (path / "made-up").write_text(str(path.relative_to(folder)))
    # The one out that DVC itself reads.
    files.write_json(folder / "data/params.json", files.sealed(passed_on(params)))
    dvc(folder, "commit", "--force", "--quiet")
    return folder


def stages(folder: Path) -> int:
    """How many stages a repo has."""
    with Repo(folder) as repo:
        return len(repo.index.stages)


def ratios(repeats: int) -> list[Ratio]:
    """Seconds of a `dvc repro` that has nothing to do, in those of the one-stage repo; sizes of the files."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        repos = {0: trivial(root / "one"), 1: grid(root / "default")}
        repos |= {size: grid(root / str(size), *axes) for size, axes in SIZES.items()}
        taken: dict[int, list[float]] = {size: [] for size in repos}
        for _ in range(repeats):
            for size, folder in repos.items():
                begun = time.perf_counter()
                dvc(folder, "repro", "--quiet")
                taken[size].append(time.perf_counter() - begun)
        one = float(np.median(taken[0]))
        found = []
        for size in (1, *SIZES):
            count, seconds = stages(repos[size]), float(np.median(taken[size]))
            lock = (repos[size] / "dvc.lock").stat().st_size / 1000
            name = "dvc repro, nothing to do, " + ("default grid" if size == 1 else f"{count} stages")
            words = f"{seconds:.2f} s of {count} stages over {one:.2f} s of one; dvc.lock {lock:.0f} kB"
            found.append(Ratio(name, seconds / one, "<= 4" if size == 1 else "", words))
        return found
