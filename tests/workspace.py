"""A copy of the repo in which `dvc repro` runs a tiny grid of the real networks, without git."""

import contextlib
import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import networkx
import pytest
import yaml
from shell import GIT
from tiny import REPO, only, tiny_params

HEURISTICS = ["clarity", "frequency", "colourfulness"]


def small_params() -> dict[str, Any]:
    """A grid that takes every stage, on networks so small that the start of a stage is most of its time."""
    params = only(
        tiny_params(), models=["xs", "s", "flux_xs", "flux_s"],
        raters=["alchemist", "alchemist_flux", "best", "loss", "random", "oracle", "clip_score", *HEURISTICS],
        selections=["alchemist", "alchemist_flux", "best", "random", "oracle", *HEURISTICS],
    )  # fmt: skip
    params["grid"] |= {
        "oracles": ["oracle"], "heuristics": ["clarity"], "embeddings": ["clip_score"],
    }  # fmt: skip
    params["models"]["xs"] |= {"depth": 1, "width": 48}
    return params


class Workspace:
    """A copy of the repo with its own params, and no git; its stages run by the `python` of a folder."""

    def __init__(self, folder: Path, python: Path = Path(sys.executable).parent) -> None:
        self.folder, self.python = folder, python
        for name in ("alchemist", "stages", "assets", "reports/pools"):
            shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("dvc.yaml", ".dvcignore"):
            shutil.copy(REPO / name, folder / name)
        self.write(small_params())
        self.run("init", "--no-scm", "--quiet")

    def write(self, params: dict[str, Any]) -> None:
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.command(sys.executable, "-m", "dvc", *words)

    @property
    def environment(self) -> dict[str, str]:
        """Of its commands."""
        return {
            **os.environ,
            **GIT,
            "OMP_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "",  # each start of a stage would compile the code again
            "DVC_NO_ANALYTICS": "1",
            "COLUMNS": "120",
            # No stage opens a socket or reads a pickle.
            "PYTHONPATH": f"{self.folder}:{REPO}/torture/guard",
            "PATH": f"{self.python}:{os.environ['PATH']}",  # dvc runs `python`
        }

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )

    def begin_history(self) -> None:
        """Makes it a repo of git in which nothing is committed, and DVC look for one."""
        ignored = (REPO / ".gitignore").read_text() + "/.dvc/cache/\n/.dvc/tmp/\n"
        (self.folder / ".gitignore").write_text(ignored)
        (self.folder / ".dvc/config").write_text("")
        subprocess.run(["git", "init", "--quiet"], cwd=self.folder, check=True)

    def copy(self, folder: Path) -> "Workspace":
        """Another with the same params and, by dvc.lock, the same outs, none of which is there."""
        other = Workspace(folder, self.python)
        for name in ("params.yaml", "dvc.lock"):
            shutil.copy(self.folder / name, folder / name)
        return other

    def outs(self) -> dict[str, dict[str, bytes]]:
        """The files of every out, by dvc.lock, each by its path below the out."""
        locked = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"].values()
        found = {}
        for path in (out["path"] for stage in locked for out in stage["outs"]):
            place = self.folder / path
            held = [file for file in place.rglob("*") if file.is_file()] if place.is_dir() else [place]
            found[path] = {str(file.relative_to(place)): file.read_bytes() for file in held}
        return found

    def repro(self) -> list[str]:
        """Runs the pipeline; gives the names of the stages that ran."""
        done = self.run("repro")
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return re.findall(r"Running stage '([^']+)'", done.stdout)

    def stages_here(self) -> list[str]:
        """Runs the command of every stage within this process, in an order that DVC may take; gives them."""
        from dvc.repo import Repo  # a second to load, which few tests need

        with Repo(str(self.folder)) as repo:
            commands = [stage.cmd for stage in networkx.dfs_postorder_nodes(repo.index.graph)]
        with contextlib.chdir(self.folder), pytest.MonkeyPatch.context() as patch:
            for command in commands:
                as_script(command, patch)
        return commands


def as_script(command: str, patch: pytest.MonkeyPatch) -> None:
    """`python -m stages.NAME …` as its script would run it."""
    python, flag, name, *options = shlex.split(command)
    assert (python, flag) == ("python", "-m")
    patch.setattr(sys, "argv", [name, *options])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module("stages").stage(importlib.import_module(name).run)
    assert not ended.value.code, command
