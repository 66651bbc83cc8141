"""./study in a folder where python, ./repro and dvc are noted and not run, and what it asked for."""

import copy
import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from alchemist.params.check import Params, check
from stages.params_file import read_params

REPO = Path(__file__).parents[1]
# Stands for python, ./repro and dvc: notes its name and arguments; a run leaves what a report leaves.
RECORDER = """#!/bin/sh
printf '%s\\n' "${0##*/}" "$@" END >> asked
[ "$2" != stages.overlay ] || echo edited > params.yaml
[ "${0##*/}" = repro ] || exit 0
mkdir -p reports/figures
for name in index.html table.csv references.csv contrasts.csv verdicts.csv summary.json advice.json; do
  echo made > reports/$name
done
"""


def study(
    folder: Path, *words: str, params: str = "as it was\n", python: str = RECORDER
) -> subprocess.CompletedProcess[str]:
    folder.mkdir(exist_ok=True)
    shutil.copy(REPO / "study", folder / "study")
    (folder / "params.yaml").write_text(params)
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "reports/pools").mkdir(parents=True, exist_ok=True)
    for name in ("bin/python", "repro", "bin/dvc"):
        (folder / name).write_text(python if name == "bin/python" else RECORDER)
        (folder / name).chmod(0o755)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(folder / "study"), *words], env={**os.environ, "PATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def runs(folder: Path) -> list[tuple[str, Params]]:
    """Name and checked params of every experiment that was run and kept."""
    default: dict[str, Any] = read_params(REPO / "params.yaml")
    asked = [words.split("\n") for words in (folder / "asked").read_text().split("\nEND\n")[:-1]]
    asked = [words for words in asked if "stages.history" not in words]
    out = []
    for laid, repro, removed, kept in zip(*(asked[i::4] for i in range(4)), strict=True):
        assert laid[:3] == ["python", "-m", "stages.overlay"]
        assert repro == ["repro"]
        assert (removed[:3], kept[:4]) == (["dvc", "exp", "remove"], ["dvc", "exp", "run", "--name"])
        assert removed[3:] == kept[4:]
        words, params = laid, copy.deepcopy(default)
        for flag, value in itertools.pairwise(words):
            if flag == "-S":
                key, _, text = value.partition("=")
                *path, last = key.removeprefix("++").split(".")
                place = params
                for part in path:
                    place = place.setdefault(part, {}) if key.startswith("++") else place[part]
                # dvc takes a key that the file leaves to its default only behind ++.
                assert last in place or key.startswith("++"), key
                place[last] = yaml.safe_load(text)
        out.append((kept[4], check(params)))
    return out
