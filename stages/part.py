"""One part of a registered study: seeds on a pool. ./study NAME calls it before and after each ./repro.

python -m stages.part NAME [--pool POOL] [--from SEED]   lays the next part that is missing over params.yaml
                                                         and prints it; prints nothing where all are there
python -m stages.part NAME --keep   what that run found: reports/studies/NAME/POOL-FIRST.csv and .json
"""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.params.registered import changed, decides, values
from alchemist.params.whole import Params
from stages import looks, registration, revision, stage
from stages.overlay import laid_over, write

REFERENCES, SCORES, TIMINGS = Path("reports/references.csv"), Path("data/scores"), Path("data/timings")
POOL = Path("data/pool")

Name = Annotated[str, typer.Argument(help="a block of studies")]
Pool = Annotated[str | None, typer.Option(help="of its pools that one alone")]
From = Annotated[int | None, typer.Option("--from", help="of its parts those from that seed on")]


def run(
    name: Name,
    pool: Pool = None,
    seed: From = None,
    keep: Annotated[bool, typer.Option("--keep", help="keep what the run in params.yaml found")] = False,
) -> None:
    """Lays the next part over params.yaml, or keeps the part that was run."""
    if keep:
        kept(name, registration.read(name)[1], registration.last(name))
        return
    params, asked = registered(name)
    study = params.studies[name]
    if found := missing(name, params, asked, pool, seed):
        one, seeds = found
        text, _, _ = laid_over(Path(), values(params, study, one, seeds))
        write(text)
        print(f"{name}: pool {one}, seeds {seeds[0]} to {seeds[-1]}")


def registered(name: str) -> tuple[Params, dict[str, Any]]:
    """Params and the registration in force of a study. Raises Refusal where it is not as registered."""
    given, params = registration.read(name)
    asked = registration.last(name)
    if lines := changed(asked["run"], decides(given, name)["run"]):
        raise Refusal(
            f"studies.{name} is not as it was registered ({lines[0]}); register it anew, or put it back."
        )
    return params, asked


def missing(
    name: str, params: Params, asked: dict[str, Any], pool: str | None, first: int | None
) -> tuple[str, list[int]] | None:
    """The pool and the seeds of the next part; all pools at some seeds come before further seeds of any.

    None where all are there, and where a look has ended every claim.

    Of parts that begin at `first` or later, so that several machines take parts of their own.
    """
    study = params.studies[name]
    if pool is not None:
        legal.one_of("--pool", pool, study.pools)
    if first is not None:
        legal.one_of("--from", str(first), [str(seeds[0]) for seeds in study.seeds.parts()])
    if len(study.looks) > 1 and looks.has_ended(name, asked):  # by one look no part is left behind it
        return None
    for seeds in study.seeds.parts():
        if first is not None and seeds[0] < first:
            continue
        for one in study.pools if pool is None else [pool]:
            # By their seeds, since a part may have had another size before.
            if found := sorted(set(seeds) - looks.kept_seeds(name, one, asked)):
                return one, found
    return None


def kept(name: str, params: Params, asked: dict[str, Any]) -> None:
    """Copies the figures of the run that params.yaml names, and says by what it was made."""
    pool, seeds = params.pool, list(params.grid.seeds)
    if not REFERENCES.is_file():
        raise Refusal(f"{REFERENCES} is missing; run dvc repro.")
    table = pd.read_csv(REFERENCES)
    found, arms = (set(table[key]) for key in ("pool", "scale")), {("full", 1.0), *params.grid.arms()}
    if sorted(set(table["seed"])) != sorted(seeds) or [*found] != [{pool}, {params.scale}]:
        raise Refusal(
            f"{REFERENCES} is not of pool {pool} and seeds {seeds} at scale {params.scale}; run dvc repro."
        )
    if arms != set(zip(table["selection"], table["ratio"], strict=True)):
        raise Refusal(f"{REFERENCES} has not the arms of {registration.PARAMS}; run dvc repro.")
    cells = list(dict.fromkeys(table["cell"]))
    score = files.read_json(SCORES / cells[0] / "figures.json")  # the report saw that all are alike in these
    took = {
        verb: sum(files.read_sealed(TIMINGS / verb / f"{cell}.json")[f"{verb}_seconds"] for cell in cells)
        for verb in ("train", "evaluate")
    }
    ran = files.read_sealed(TIMINGS / "train" / f"{cells[0]}.json")
    of_raters = [TIMINGS / "ratings" / rater for rater in params.grid.rated()]
    tables = [folder / f"{which}.json" for folder in of_raters for which in [*seeds, "all"]]
    rated = [files.read_sealed(path) for path in tables if path.is_file()]
    facts = {
        "study": name,
        "pool": pool,
        "seeds": seeds,
        "registered": asked["commit"],
        "run_sha256": asked["run_sha256"],
        "commit": revision.head(),
        "edited": revision.edited(),
        "names": score["names"],
        "likelihood": score["likelihood"],
        "reference": score["decides"],
        "cells": len(cells),
        "seconds": {**took, "rate": sum(one["seconds"] for one in rated)},
        "versions": ran["versions"],
        "hardware": ran["hardware"],
        "pool_sha256": files.sha256(POOL / files.MANIFEST),
    }
    path = looks.table_of(name, pool, seeds[0])
    with files.whole(path) as draft:
        table.to_csv(draft, index=False)
    facts["table_sha256"] = files.sha256(path)
    files.write_json(path.with_suffix(".json"), facts)
    print(f"wrote {path}: {len(cells)} cells")


if __name__ == "__main__":
    stage(run)
