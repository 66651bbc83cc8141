"""A stage of the pipeline as a plan sees it: what it would run, and whether it has to."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

State = Literal["done", "runs", "follows"]


@dataclass(frozen=True)
class Job:
    """One stage or cell. `options` are the `--option value` pairs of its command.

    `runs`: it has a reason of its own; `follows`: what it reads would be made anew, and it runs unless that
    comes out equal.
    """

    name: str  # as DVC names it: train@random-0.5-xs-0
    script: str  # NAME of `python -m stages.NAME`
    options: dict[str, str]
    state: State
    reasons: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """The stage of dvc.yaml that it is a cell of."""
        return self.name.partition("@")[0]

    @property
    def ratio(self) -> float:
        """The share of the pool that a cell is trained on, by its folder's name; 1 for the full data."""
        selection, *between = self._cell()
        return 1.0 if selection == "full" else float("-".join(between[:-2]))

    @property
    def model(self) -> str:
        """The model of a cell, by its folder's name."""
        return self._cell()[-2]

    def _cell(self) -> list[str]:
        """The parts of the name of a cell's folder."""
        place = self.options["--cell" if self.script == "evaluate" else "--out"]
        return PurePosixPath(place).name.split("-")


@dataclass(frozen=True)
class Group:
    """The cells of a stage of dvc.yaml: how many are done, run, follow; and each reason with its cells."""

    name: str
    done: int
    runs: int
    follows: int
    reasons: dict[str, int]


def groups(jobs: list[Job]) -> list[Group]:
    """One a stage of dvc.yaml, in their order."""
    out = []
    for name in dict.fromkeys(job.group for job in jobs):
        own = [job for job in jobs if job.group == name]
        reasons: dict[str, int] = {}
        for job in own:
            for reason in job.reasons:
                reasons[reason] = reasons.get(reason, 0) + 1
        counts = {state: sum(job.state == state for job in own) for state in ("done", "runs", "follows")}
        out.append(Group(name, counts["done"], counts["runs"], counts["follows"], reasons))
    return out
