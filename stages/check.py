"""Refuses a wrong params.yaml before any other stage runs, and passes it on as JSON."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.params.check import check
from alchemist.params.sources import passed_on
from stages import stage
from stages.params_file import check_others, read_params


def run(
    params: Annotated[Path, typer.Option(help="file of the settings")] = Path("params.yaml"),
    pipeline: Annotated[Path, typer.Option(help="file of DVC whose lists they are")] = Path("dvc.yaml"),
    out: Annotated[Path | None, typer.Option(help="JSON to write, which the other stages read")] = None,
) -> None:
    """Checks all of params.yaml: python -m stages.check, before `dvc repro` or as its first stage.

    In the JSON every block is whole, whatever base it has, and `sources` has the pools that are splits of
    each pool. An edit of params.yaml reruns of the other stages
    those whose keys there have other values.
    """
    given = read_params(params)
    sound = check(given)
    check_others(given, pipeline)
    cells = (len(sound.grid.whole()) + len(sound.grid.runs())) * len(sound.grid.seeds)
    print(f"{params} is sound: pool {sound.pool}, scale {sound.scale}, {cells} cells")
    if out is not None:
        files.write_json(out, passed_on(given))


if __name__ == "__main__":
    stage(run)
