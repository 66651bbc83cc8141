"""Raters that the next part of a registered study carries over from another pool, trained there by its seeds.

python -m stages.carry NAME [--pool POOL]   lays over params.yaml what trains those that assets/raters lacks,
                                            and prints the stages to run; nothing where none is lacking
python -m stages.carry NAME --keep          puts what those left into assets/raters, once params.yaml is as
                                            it was
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
    keep: Annotated[bool, typer.Option("--keep", help="keep what the stages left")] = False,
) -> None:
    """Lays over params.yaml what trains the raters, or keeps those that were trained."""
    params, asked = registered(name)
    study = params.studies[name]
    _, seeds = missing(name, params, asked, pool) or ("", [])
    lacking = [
        (rater, seed, ASSETS / weights / str(seed))
        for rater, weights in carried(params, study).items()
        for seed in seeds
        if not (ASSETS / weights / str(seed)).is_dir()
    ]
    if keep:
        from alchemist.raters import shipped  # brings torch, which takes seconds

        for rater, seed, path in lacking:
            if (on := shipped.card(TRAINED / rater / str(seed)).pool) != study.carried_from:
                raise Refusal(f"{TRAINED / rater / str(seed)} was trained on {on}; run ./study {name}.")
            with files.whole_folder(path) as folder:
                shutil.copytree(TRAINED / rater / str(seed), folder, dirs_exist_ok=True)
    elif lacking:
        trained = sorted({seed for _, seed, _ in lacking})
        lay_over(values(params, study, study.carried_from or "", trained, carries=True))
        print(*(f"rate@{rater}-{seed}" for rater, seed, _ in lacking))


if __name__ == "__main__":
    stage(run)
