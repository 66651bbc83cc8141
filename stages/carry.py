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
from alchemist.core.shown import shown
from alchemist.params.registered import carried, values
from alchemist.params.whole import Params
from alchemist.raters import shipped
from stages import stage
from stages.overlay import laid_over
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
    raters = carried(params, study)
    _, seeds = missing(name, params, asked, pool, seed) or ("", [])
    if not raters or not seeds:
        return
    each = [(rater, one, ASSETS / raters[rater] / str(one)) for rater in raters for one in seeds]
    lacking = [(rater, one, path) for rater, one, path in each if not path.is_dir()]
    trained = sorted({one for _, one, _ in lacking}) or seeds
    changes = values(params, study, study.carried_from or "", trained, carries=True)
    _, _, laid = laid_over(Path(), changes)
    for rater, _, path in each:
        if path.is_dir():
            _check(path, rater, laid)
    if keep:
        for rater, one, path in lacking:
            left = TRAINED / rater / str(one)
            _check(left, rater, laid)
            with files.whole_folder(path) as folder:
                shutil.copytree(left, folder, dirs_exist_ok=True)
    elif lacking:
        lay_over(changes)
        print(*(f"rate@{rater}-{one}" for rater, one, _ in lacking))


def _check(folder: Path, rater: str, laid: Params) -> None:
    """Refuses a rater that was not trained by the values laid over: it would be another rater's study."""
    card = shipped.card(folder)
    here = laid.raters[rater].model_dump(mode="json"), laid.scales[laid.scale].rate.model_dump(mode="json")
    told = [f"pool {card.pool}"] if card.pool != laid.pool else []
    for given, wanted in zip((card.rater, card.budget), here, strict=True):
        told += [f"{key} {shown(given[key])}" for key in given if key in wanted and given[key] != wanted[key]]
    if told:
        raise Refusal(
            f"{folder} was trained by other values ({told[0]}); remove it, to have it trained anew."
        )


if __name__ == "__main__":
    stage(run)
