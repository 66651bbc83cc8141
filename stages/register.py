"""Registers a study: python -m stages.register NAME, once its block is committed and before it runs.

Writes into reports/studies/NAME/registered.json what decides of it, all blocks whole, and the commit whose
params.yaml says so. A study that has changed is registered anew beside what it was: nothing is taken back.
"""

import re
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.study import StudySettings
from alchemist.params.registered import changed, decides, study_of, values
from alchemist.params.whole import Params
from stages import looks, registration, revision, stage
from stages.overlay import laid_over

KEPT, COMMAND = Path("reports"), Path(__file__).parents[1] / "study"


def run(name: Annotated[str, typer.Argument(help="a block of studies")]) -> None:
    """Adds a registration, where anything that decides is not as in the last one."""
    given, params = registration.read(name)
    study = params.studies[name]
    _has_its_own_name(name)
    for pool in study.pools:  # what cannot run or be judged is refused before it is registered
        _can_be_judged(name, study, laid_over(Path(), values(params, study, pool, study.seeds.all()))[2])
    found, before = decides(given, name), registration.registrations(name)
    if before and not (lines := changed({k: before[-1][k] for k in found}, found)):
        print(f"{name} is registered as it stands, by commit {before[-1]['commit']}")
        return
    told = {seed for one in before for seed in study_of(found, one["rule"]).seeds.all()}
    _fresh(name, set(study.seeds.all()) - told, study.seeds.shared_with)
    commit = revision.head()
    if commit is None or registration.at_commit(commit, name) != found:
        raise Refusal(
            f"studies.{name} in params.yaml is not what the last commit has; commit it first, so that the "
            "commit tells when it was said."
        )
    if edited := revision.edited():
        raise Refusal(
            f"{edited[0]} is not as the last commit has it; commit it first, since code decides too, and of "
            "that the commit tells."
        )
    path = registration.STUDIES / name / registration.REGISTERED
    new = {"commit": commit, **found, "run_sha256": registration.digest(found["run"])}
    new["behind"] = [part.name for part, _ in looks.parts(name)]  # whose place others may take
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_json(path, {"registrations": [*before, new]})
    print(*(lines if before else []), f"wrote {path}: {name} by commit {commit}; commit it too", sep="\n")


def cases(command: Path) -> list[str]:
    """Labels of the runs that ./study has of its own, as "table1" and "pools | icons"."""
    text = command.read_text(encoding="utf-8")
    return re.findall(r"^  ([a-z0-9_]+(?: \| [a-z0-9_]+)*)\) # ", text, re.MULTILINE)


def _has_its_own_name(name: str) -> None:
    """Refuses a name that ./study has for another of its runs."""
    if name in ("show", *" | ".join(cases(COMMAND)).split(" | ")):
        raise Refusal(f"studies.{name} has a name that ./study has for a run of its own; any other is legal.")


def _can_be_judged(name: str, study: StudySettings, laid: Params) -> None:
    """Refuses a scale whose figures mean nothing, and a claim without cells or without its metric."""
    if not laid.scales[study.scale].meaningful:
        known = [scale for scale, block in laid.scales.items() if block.meaningful]
        raise Refusal(
            f"studies.{name}.scale is {study.scale!r}, of which no figure means anything; legal are "
            f"{', '.join(known)}."
        )
    for claim in study.claims:
        asked = study.claim(claim)
        if side := laid.grid.lacks(asked.arm, asked.against, asked.ratio, asked.model):
            raise Refusal(
                f"studies.{name}.claims.{claim} asks for {getattr(asked, side)} at {asked.ratio} of the "
                f"model {asked.model}, of which the study has no cells (a further family has those of its "
                "ratios alone)."
            )
        assert asked.model is not None
        if asked.metric == "nll" and not laid.models[asked.model].has_likelihood:
            raise Refusal(
                f"studies.{name}.claims.{claim} is decided by nll, and the model {asked.model} has no "
                "likelihood; fd, kid and clip are legal."
            )


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
