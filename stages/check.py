"""Refuses a wrong params.yaml before any other stage runs."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.params.check import check
from stages.common import section, stage


def run(
    out: Annotated[Path | None, typer.Option(help="JSON to write; its content never changes")] = None,
) -> None:
    """Checks all of params.yaml: python -m stages.check, before `dvc repro` or as its first stage.

    What it writes is constant, so that an edit reruns no other stage.
    """
    params = check(section(""))
    cells = len(params.grid.models) * len(params.grid.seeds)
    cells *= 1 + len(params.grid.selections) * len(params.grid.ratios)
    print(f"params.yaml is sound: pool {params.pool}, scale {params.scale}, {cells} cells")
    if out is not None:
        files.write_json(out, {"params": "checked"})


if __name__ == "__main__":
    stage(run)
