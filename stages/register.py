"""Registers a study: python -m stages.register NAME, once its block is committed and before it runs.

Writes into reports/studies/NAME/registered.json what decides of it, all blocks whole, and the commit whose
params.yaml says so. A study that has changed is registered anew beside what it was: nothing is taken back.
"""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.params.registered import changed, decides, study_of, values
from stages import registration, stage
from stages.overlay import laid_over

KEPT = Path("reports")


def run(name: Annotated[str, typer.Argument(help="a block of studies")]) -> None:
    """Adds a registration, where anything that decides is not as in the last one."""
    given, params = registration.read(name)
    for pool in params.studies[name].pools:  # what cannot run is refused before it is registered
        laid_over(Path(), values(params, params.studies[name], pool, params.studies[name].seeds.all()))
    found, before = decides(given, name), registration.registrations(name)
    if before and not (lines := changed({k: before[-1][k] for k in found}, found)):
        print(f"{name} is registered as it stands, by commit {before[-1]['commit']}")
        return
    told = {seed for one in before for seed in study_of(found, one["rule"]).seeds.all()}
    _fresh(name, set(params.studies[name].seeds.all()) - told, params.studies[name].seeds.shared_with)
    commit = registration.head()
    if commit is None or registration.at_commit(commit, name) != found:
        raise Refusal(
            f"studies.{name} in params.yaml is not what the last commit has; commit it first, so that the "
            "commit tells when it was said."
        )
    path = registration.STUDIES / name / registration.REGISTERED
    new = {"commit": commit, **found, "run_sha256": registration.digest(found["run"])}
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"registrations": [*before, new]})
    print(*(lines if before else []), f"wrote {path}: {name} by commit {commit}; commit it too", sep="\n")


def _fresh(name: str, seeds: set[int], shared_with: str | None) -> None:
    """Refuses seeds that a kept run has: what it showed may have chosen what the study asks."""
    runs = sorted([*KEPT.glob("*/table.csv"), *KEPT.glob("*/*/table.csv"), *KEPT.glob("pools/*.csv")])
    used_by = {path: set(pd.read_csv(path, usecols=["seed"])["seed"]) for path in runs}
    for path in sorted(registration.STUDIES.glob("*/*-*.json")):
        if path.parent.name not in (name, shared_with):
            used_by[path] = set(files.read_json(path)["seeds"])
    for path, found in used_by.items():
        if used := found & seeds:
            raise Refusal(
                f"studies.{name}.seeds has {min(used)}, by which {path} was made; seeds that no kept run has "
                "are legal."
            )


if __name__ == "__main__":
    stage(run)
