"""Lays values over params.yaml in place, as `dvc exp run -S` does; ./study calls it. Runs nothing."""

from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files
from alchemist.params.check import check
from alchemist.params.whole import Params
from stages import stage
from stages.params_file import check_others, parse_params, read_params
from stages.pipeline_state import overridden

ROOT = Path()


def laid_over(root: Path, changes: list[str]) -> tuple[str, Any, Params]:
    """The text of a repo's params.yaml with the values laid over, what it holds, and the same checked.

    Raises Refusal for what is wrong with the file before or after.
    """
    path = root / "params.yaml"
    read_params(path)  # what is wrong with the file is told before anything is laid over it
    text = overridden(path, changes)
    given = parse_params(text, path)
    params = check(given)
    check_others(given, root / "dvc.yaml")
    return text, given, params


def write(text: str) -> None:
    """Puts the text that `laid_over` gave in the place of this repo's params.yaml."""
    with files.whole(ROOT / "params.yaml") as draft:
        draft.write_text(text, encoding="utf-8")


def run(
    changes: Annotated[list[str], typer.Option("-S", "--set-param", help="KEY=VALUE laid over params.yaml")],
) -> None:
    """Writes params.yaml with the values laid over, and leaves it as it was where they are not legal."""
    text, _, _ = laid_over(ROOT, changes)
    write(text)


if __name__ == "__main__":
    stage(run)
