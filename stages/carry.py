"""Raters that the next part of a registered study carries over from another pool, trained there by its seeds.

python -m stages.carry NAME [--pool POOL] [--from SEED]   lays over params.yaml what trains those that
                                                          assets/raters lacks, and prints the stages to run;
                                                          nothing where none is lacking
python -m stages.carry NAME --keep   puts what those left into assets/raters, once params.yaml is as it was
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.params.registered import carried, values
from stages import stage
from stages.part import lay_over, missing, registered

ASSETS, TRAINED = Path("assets/raters"), Path("data/raters")


def run(
    name: Annotated[str, typer.Argument(help="a block of studies")],
    pool: Annotated[str | None, typer.Option(help="of its pools that one alone")] = None,
    seed: Annotated[int | None, typer.Option("--from", help="of its parts those from that seed on")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="keep what the stages left")] = False,
) -> None:
    """Lays over params.yaml what trains the raters, or keeps those that were trained."""
    params, asked = registered(name)
    study = params.studies[name]
    _, seeds = missing(name, params, asked, pool, seed) or ("", [])
    lacking = [
        (rater, one, ASSETS / weights / str(one))
        for rater, weights in carried(params, study).items()
        for one in seeds
        if not (ASSETS / weights / str(one)).is_dir()
    ]
    if keep:
        from alchemist.raters import shipped  # brings torch, which takes seconds

        for rater, one, path in lacking:
            left = TRAINED / rater / str(one)
            if (on := shipped.card(left).pool) != study.carried_from:
                raise Refusal(f"{left} was trained on {on}; run ./study {name}.")
            with files.whole_folder(path) as folder:
                shutil.copytree(left, folder, dirs_exist_ok=True)
    elif lacking:
        trained = sorted({one for _, one, _ in lacking})
        lay_over(values(params, study, study.carried_from or "", trained, carries=True))
        print(*(f"rate@{rater}-{one}" for rater, one, _ in lacking))


if __name__ == "__main__":
    stage(run)
