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
from stages import stage
from stages.overlay import laid_over, write
from stages.part import From, Name, Pool, missing, registered

ASSETS, TRAINED = Path("assets/raters"), Path("data/raters")


def run(
    name: Name,
    pool: Pool = None,
    seed: From = None,
    keep: Annotated[bool, typer.Option("--keep", help="keep what the stages left")] = False,
) -> None:
    """Lays over params.yaml what trains the raters, or keeps those that were trained."""
    params, asked = registered(name)
    study = params.studies[name]
    found, weights = missing(name, params, asked, pool, seed), carried(params, study)
    if found is None or not weights:
        return
    paths = {(rater, one): ASSETS / weights[rater] / str(one) for rater in weights for one in found[1]}
    lacking = [key for key, path in paths.items() if not path.is_dir()]
    seeds = sorted({one for _, one in lacking}) or found[1]
    text, _, laid = laid_over(Path(), values(params, study, study.carried_from or "", seeds, carries=True))
    for (rater, one), path in paths.items():
        if (rater, one) not in lacking:
            _check(path, rater, laid)
        elif keep:
            left = TRAINED / rater / str(one)
            _check(left, rater, laid)
            with files.whole_folder(path) as folder:
                shutil.copytree(left, folder, dirs_exist_ok=True)
    if lacking and not keep:
        write(text)
        print(*(f"rate@{rater}-{one}" for rater, one in lacking))


def _check(folder: Path, rater: str, laid: Params) -> None:
    """Refuses a rater that was not trained by the values laid over: it would be another rater's study."""
    from alchemist.raters import shipped  # brings torch, which takes seconds; most studies carry none

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
