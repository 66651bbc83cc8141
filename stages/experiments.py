"""What was run, a line an experiment: python -m stages.experiments, or ./study show.

Name, the params in which it differs from its commit, and FD, CLIP-Score and NLL of `reports/summary.json`, in
100 columns. `dvc exp show` has every figure, and a column for every value and file beside.
"""

import json
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from alchemist.core.leaves import leaves
from alchemist.core.refusal import Refusal
from stages import stage

WIDTH = 100
SUMMARY, PARAMS = "reports/summary.json", "params.yaml"
SHOWN = ("fd", "clip", "nll")  # metrics, of the summary's METRIC_ARM


def run() -> None:
    """Prints the table, the oldest experiment of a commit first."""
    told = subprocess.run(
        [sys.executable, "-m", "dvc", "exp", "show", "--json"], capture_output=True, text=True, check=False
    )
    if told.returncode:
        raise Refusal(f"dvc exp show has failed: {(told.stderr.strip().splitlines() or ['no word'])[-1]}")
    rows = list(experiments(json.loads(told.stdout)))
    figures = list(dict.fromkeys(name for _, _, found in rows for name in found))
    figures = [name for name in figures if name.rpartition("_")[0] in SHOWN]
    first = max([len(name) for name, _, _ in rows] + [10])
    print(f"{'experiment':<{first}}  " + " ".join(f"{name:>{width(name)}}" for name in figures))
    for name, changed, found in rows:
        cells = (f"{found[key]:>{width(key)}}" if key in found else " " * width(key) for key in figures)
        print(f"{name:<{first}}  {' '.join(cells)}".rstrip())
        for word in changed:
            print(textwrap.fill(word, WIDTH, initial_indent="    ", subsequent_indent="      "))


def width(figure: str) -> int:
    """Columns of a figure: those of its name, or of its values."""
    return max(len(figure), 6)


def experiments(shown: list[dict[str, Any]]) -> Iterator[tuple[str, list[str], dict[str, float]]]:
    """Name, changed params and figures of the workspace, of each commit and of its experiments."""
    committed = values(shown[1]) if len(shown) > 1 else values(shown[0])
    for commit in shown:
        # The workspace stands first, before the commits.
        yield title(commit), changes(committed, commit) if commit is shown[0] else [], summary(commit)
        for experiment in reversed(commit.get("experiments") or []):
            revision = experiment["revs"][0]
            yield (
                experiment.get("name") or title(revision),
                changes(values(commit), revision),
                summary(revision),
            )


def title(revision: dict[str, Any]) -> str:
    """Its name, or the beginning of its hash."""
    given: str = revision.get("name") or revision["rev"]
    return given[:7] if len(given) == 40 else given


def changes(before: dict[str, Any], revision: dict[str, Any]) -> list[str]:
    """The params in which a revision differs, as KEY=VALUE."""
    after = values(revision)
    return [
        f"{key}={'' if key not in after else json.dumps(after[key])}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key) != after.get(key)
    ]


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


if __name__ == "__main__":
    stage(run)
