"""What was run, a line an experiment: python -m stages.experiments, or ./study show.

Name, the params in which it differs from its commit, and the figures of `reports/summary.json`, in 100
columns. `dvc exp show` has all of them, and a column for every value and file beside.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from alchemist.core.refusal import Refusal
from stages import stage

WIDTH = 100
SUMMARY, PARAMS = "reports/summary.json", "params.yaml"


def run() -> None:
    """Prints the table, the oldest experiment of a commit first."""
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json"], capture_output=True, text=True, check=False
    )
    if told.returncode:
        raise Refusal(f"dvc exp show has failed: {(told.stderr.strip().splitlines() or ['no word'])[-1]}")
    rows = list(experiments(json.loads(told.stdout)))
    figures = list(dict.fromkeys(name for _, _, found in rows for name in found if name != "ratio"))
    first = max([len(name) for name, _, _ in rows] + [10])
    print(f"{'experiment':<{first}}  " + " ".join(f"{name:>{width(name)}}" for name in figures))
    for name, changed, found in rows:
        cells = (f"{found[key]:>{width(key)}}" if key in found else " " * width(key) for key in figures)
        print(f"{name:<{first}}  {' '.join(cells)}".rstrip())
        line = "    "
        for word in changed:
            if len(line) > 4 and len(line) + len(word) > WIDTH:
                print(line.rstrip())
                line = "    "
            line += f"{word}  "
        if changed:
            print(line.rstrip())


def width(figure: str) -> int:
    """Columns of a figure: those of its name, or of its values."""
    return max(len(figure), 6)


def experiments(shown: list[dict[str, Any]]) -> Iterator[tuple[str, list[str], dict[str, float]]]:
    """Name, changed params and figures of the workspace, of each commit and of its experiments."""
    for commit in shown:
        own = values(commit)
        yield (commit.get("name") or commit["rev"][:7], [], summary(commit))
        for experiment in reversed(commit.get("experiments") or []):
            revision = experiment["revs"][0]
            theirs = values(revision)
            changed = [
                f"{key}={'' if key not in theirs else json.dumps(theirs[key])}"
                for key in dict.fromkeys([*own, *theirs])
                if own.get(key) != theirs.get(key)
            ]
            yield experiment.get("name") or revision["rev"][:7], changed, summary(revision)


def summary(revision: dict[str, Any]) -> dict[str, float]:
    """Its figures; none where its report was not made."""
    found: dict[str, float] = part(revision, "metrics", SUMMARY)
    return found


def values(revision: dict[str, Any]) -> dict[str, Any]:
    """Its params by dotted key; a list is one value."""
    return dict(leaves(part(revision, "params", PARAMS)))


def part(revision: dict[str, Any], kind: str, file: str) -> dict[str, Any]:
    """What DVC knows of a file of one kind at a revision."""
    held = ((revision.get("data") or {}).get(kind) or {}).get(file) or {}
    return held.get("data") or {}


def leaves(tree: dict[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys of a tree of blocks, with their values."""
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}", value


if __name__ == "__main__":
    stage(run)
