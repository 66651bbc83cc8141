"""The parts of a registered study that are there, and what its rules say of them at each look."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.analysis import registered
from alchemist.analysis.equal_cost import with_equal_cost
from alchemist.analysis.metrics import columns
from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.study import StudySettings
from alchemist.params.registered import study_of
from alchemist.report import study_page
from stages import registration

Parts = list[tuple[pd.DataFrame, dict[str, Any]]]


@dataclass(frozen=True)
class Looked:
    """What a look sees of a pool."""

    table: pd.DataFrame  # of the seeds of the look, by every reference
    reference: str  # that decides

    def references(self) -> list[str]:
        """The one that decides, and the others."""
        return sorted(dict.fromkeys(self.table["reference"]), key=lambda name: name != self.reference)

    def by(self, reference: str) -> pd.DataFrame:
        """Its rows by one reference."""
        return self.table[self.table["reference"] == reference]


def table_of(name: str, pool: str, first: int) -> Path:
    """Where the figures of a part lie."""
    return registration.STUDIES / name / f"{pool}-{first}.csv"


def parts(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Every part that was kept: its table, and what it was made by."""
    found = sorted((registration.STUDIES / name).glob("*-*.json"))
    return [(path.with_suffix(".csv"), files.read_json(path)) for path in found]


def is_kept(table: Path, facts: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Whether a part was run by the values that are registered, and its table is as it was kept."""
    is_same = table.is_file() and facts.get("table_sha256") in (None, files.sha256(table))
    return is_same and facts["run_sha256"] == asked["run_sha256"]


def kept_seeds(name: str, pool: str, asked: dict[str, Any]) -> set[int]:
    """The seeds of a pool that were run by the values that are registered."""
    own = [facts for table, facts in parts(name) if facts["pool"] == pool and is_kept(table, facts, asked)]
    return {seed for facts in own for seed in facts["seeds"]}


def read_parts(name: str, rules: list[StudySettings], asked: dict[str, Any]) -> tuple[Parts, list[str]]:
    """The tables of the parts that count by any rule, each with what it was made by, and the names of the
    others."""
    seeds = {seed for rule in rules for seed in rule.seeds.all()}
    found, strange = [], []
    for table, facts in parts(name):
        own = facts["pool"] in rules[0].pools and set(facts["seeds"]) <= seeds
        if not own or not is_kept(table, facts, asked):
            strange.append(table.name)
            continue
        short = {full: short for short, full in columns(facts["names"], facts["likelihood"]).items()}
        whole = pd.read_csv(table).rename(columns=short)
        main = whole[whole["reference"] == facts["reference"]].iloc[0]
        found.append((whole, facts | {key: int(main[key]) for key in ("n", "reference_n")}))
    return found, strange


def of_pools(study: StudySettings, at: int, parts: Parts) -> dict[str, Looked]:
    """What a look at so many seeds sees, by pool. Raises Refusal where its parts are not measured alike."""
    seeds, out = study.seeds.all()[:at], {}
    for pool in study.pools:
        own = [(t, facts) for t, facts in parts if facts["pool"] == pool and {*facts["seeds"]} & {*seeds}]
        first = own[0][1]
        for _, facts in own:
            if any(facts[key] != first[key] for key in ("reference", "names")):
                this, that = (f"{one['reference']!r} and {one['names']}" for one in (facts, first))
                raise Refusal(
                    f"Of pool {pool} the part of seed {facts['seeds'][0]} is measured by {this}, that of "
                    f"seed {first['seeds'][0]} by {that}; parts that are measured alike are legal."
                )
        table = pd.concat([table for table, _ in own])
        if study.is_at("equal_cost"):
            table = with_equal_cost(table)
        out[pool] = Looked(table[table["seed"].isin(seeds)], first["reference"])
    return out


def one_rule(study: StudySettings, label: str, parts: Parts) -> study_page.Rule:
    """What a rule says at the last look for which all seeds are there, on every pool.

    A claim that an earlier look ended on a pool keeps what that said; what the last one says of it stands
    beside. Where figures of a look cannot be read, the one before it counts, and `cannot` says why.
    """
    seeds = study.seeds.all()
    done = {
        pool: {seed for _, facts in parts if facts["pool"] == pool for seed in facts["seeds"]}
        for pool in study.pools
    }
    # Seeds count in their order, so that no look picks among them.
    counts = {
        pool: next((i for i, seed in enumerate(seeds) if seed not in have), len(seeds))
        for pool, have in done.items()
    }
    last = registered.look(study, min(counts.values()))
    found: list[registered.Judged] = []
    at, cannot = 0, ""
    for count in [each for each in study.looks if each <= last]:
        try:
            looked = of_pools(study, count, parts)
            tables = {pool: one.table for pool, one in looked.items()}
            deciding = {pool: one.reference for pool, one in looked.items()}
            found = registered.kept(found, registered.judged(study, tables, seeds[:count], deciding))
        except Refusal as error:  # an older rule may name arms that a later run has not
            cannot = str(error)
            break
        at = count
    return study_page.Rule(label, study, at, counts, found, cannot)


def has_ended(name: str, asked: dict[str, Any]) -> bool:
    """Whether the parts that are there end every claim of a study, as it was registered.

    Raises Refusal where they cannot be read, before more of them are run.
    """
    study = study_of(asked)
    rule = one_rule(study, "", read_parts(name, [study], asked)[0])
    if rule.cannot:
        raise Refusal(rule.cannot)
    return registered.has_ended(study, rule.found)
