"""The verdicts of a registered study, from the parts that are there: python -m stages.judge NAME.

Writes into reports/studies/NAME a page (index.html) and every comparison (verdicts.csv), and at a look those
by each rule that was registered into reports/history.csv. Trains nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pandas as pd
import typer

from alchemist.analysis import history, registered
from alchemist.analysis.arena import Entry, arena
from alchemist.analysis.beside import Row, beside
from alchemist.analysis.equal_cost import reached, with_equal_cost
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import columns, metric_name
from alchemist.analysis.metrics import shown as metric_shown
from alchemist.analysis.words import ALL_POINTS
from alchemist.core import files
from alchemist.core.leaves import leaves
from alchemist.core.refusal import Refusal
from alchemist.core.settings.study import StudySettings
from alchemist.core.shown import shown
from alchemist.params.registered import changed, decides, study_of
from alchemist.params.whole import Params
from alchemist.report import study_page
from alchemist.report.words import interval_text
from stages import part, registration, stage
from stages.history import keep


@dataclass(frozen=True)
class Looked:
    """What a look sees of a pool."""

    table: pd.DataFrame  # of the seeds of the look, by every reference
    reference: str  # that decides

    def by(self, reference: str) -> pd.DataFrame:
        """Its rows by one reference."""
        return self.table[self.table["reference"] == reference]


def run(name: Annotated[str, typer.Argument(help="a block of studies")]) -> None:
    """Judges by the rule that was registered last, and by every other that was registered or is in force."""
    given, params = registration.read(name)
    every, asked = registration.registrations(name), registration.last(name)
    now = decides(given, name)
    out = registration.STUDIES / name
    study = study_of(asked)
    said = [*every[::-1], {"commit": "not registered", **now}]
    parts, strange = read_parts(name, [study_of(asked, one["rule"]) for one in said], asked)
    commits = [one["commit"] for one in every]
    first = min(
        (commits.index(f["registered"]) for _, f in parts if f["registered"] in commits), default=None
    )
    registered_rules = [one["rule"] for one in every]
    rules: list[tuple[str, str, StudySettings]] = []
    for number, one in enumerate(said):
        own = study_of(asked, one["rule"])
        if own not in [other for *_, other in rules]:
            late = number < len(every) and first is not None and registered_rules.index(one["rule"]) > first
            label = f"registered by {one['commit'][:10]}" + (", after figures were there" if late else "")
            rules.append((one["commit"], label if number < len(every) else "in force, not registered", own))
    judged = [one_rule(own, label, parts) for _, label, own in rules]
    if judged[0].cannot:
        raise Refusal(judged[0].cannot)
    looked = of_pools(study, judged[0].at, parts) if judged[0].found else {}
    page = study_page.StudyPage(
        name=name,
        study=study,
        composed=[pool for pool in study.pools if is_clean(study, pool, asked["run"]["blocks"])],
        values=[
            f"{key} {shown(value)}" + (f" on {pool}" if pool else "")
            for pool, block in {"": study.values, **study.pools}.items()
            for key, value in leaves(block)
        ],
        registered=[(one["commit"], is_told(one, name)) for one in every],
        changes=[
            changed({k: before[k] for k in now}, {k: after[k] for k in now})
            for before, after in zip(every, [*every[1:], now], strict=True)
        ],
        code=registration.code_since(asked["commit"]),
        parts=[facts for _, facts in parts],
        strange=strange,
        unknown=[
            f"{facts['pool']}-{facts['seeds'][0]}" for _, facts in parts if facts["registered"] not in commits
        ],
        judged=judged,
        reached={
            pool: reached(one.by(one.reference)) for pool, one in looked.items() if study.is_at("equal_cost")
        },
        arenas=arenas(params, study, looked),
        every=every_arm(params, study, looked),
    )
    with files.whole(out / "index.html") as draft:
        draft.write_text(study_page.render(page), encoding="utf-8")
    table = pd.concat([registered.rows(one.found).assign(rule=one.label) for one in judged])
    with files.whole(out / "verdicts.csv") as draft:
        table.to_csv(draft, index=False)
    made = [facts["commit"] or "" for _, facts in sorted(parts, key=lambda one: one[1]["seeds"])]
    for (commit, *_), rule in zip(rules, judged, strict=True):
        if rule.found and commit in commits:
            keep(history.of_study(name, made[-1], commit, rule.found, study.scale))
    print(f"{name}: {study.question}")
    for claim in study.claims:
        own_rows = [one for one in judged[0].found if one.decides and one.claim == claim]
        print(f"{claim}: {registered.together(own_rows, claim) if own_rows else 'no look yet'}")
        for row in own_rows:
            names = parts[0][1]["names"]
            scale, digits = metric_shown(row.metric, names)
            figure = interval_text(row.outcome.interval, digits, True, scale)
            where = f"{metric_name(row.metric, names)} at {ALL_POINTS[row.asked.point or '']}"
            print(f"  {row.pool}: {row.outcome.why}; {where} {figure}")
    print(f"wrote {out / 'index.html'}")


def is_clean(study: StudySettings, pool: str, blocks: dict[str, Any]) -> bool:
    """Whether a pool is composed, and what decides are its clean pairs alone, by the study's own values."""
    block, scale = blocks["pools"][pool][pool], f"scales.{study.scale}"
    found = dict(leaves({f"pools.{pool}": block, scale: blocks["scale"]})) | study.laid(pool)
    source = found.get(f"pools.{pool}.evaluation.source", "clean")
    return bool(block["format"] == "emoji" and "clean" in (source, found.get(f"{scale}.evaluate.decides")))


def is_told(one: dict[str, Any], name: str) -> bool | None:
    """Whether the commit of a registration has it so in its params.yaml; None where that cannot be read."""
    found = registration.at_commit(one["commit"], name)
    return None if found is None else found == {key: one[key] for key in found}


def arenas(
    params: Params, study: StudySettings, looked: Mapping[str, Looked]
) -> dict[tuple[str, str], list[Entry]]:
    """Cost and figure of every arm by pool and metric, by the reference that decides.

    Of models without a likelihood there is no NLL.
    """
    controls = [FULL, *selected_by(params, "random"), *selected_by(params, "copies")]
    return {
        (pool, metric): arena(one.by(one.reference).dropna(subset=metric), metric, controls)
        for pool, one in looked.items()
        for metric in told(study)
        if metric in one.table and one.by(one.reference)[metric].notna().any()
    }


def told(study: StudySettings) -> list[str]:
    """The metrics in which every arm is told of: that which decides, and NLL, which may turn the order."""
    return list(dict.fromkeys([study.metric, *(["nll"] if study.margins.nll else [])]))


def every_arm(
    params: Params, study: StudySettings, looked: Mapping[str, Looked]
) -> dict[tuple[str, str], list[Row]]:
    """Every arm beside its controls by pool and reference, that which decides first."""
    controls = [*selected_by(params, "random"), *selected_by(params, "copies"), FULL]
    out = {}
    for pool, one in looked.items():
        names = sorted(dict.fromkeys(one.table["reference"]), key=lambda name: name != one.reference)
        for name in names:
            out[pool, name] = beside(one.by(name), study.point, told(study), controls, study.confidence)
    return out


def selected_by(params: Params, kind: str) -> list[str]:
    """The selections whose rater is of a kind."""
    return [name for name, one in params.selections.items() if params.raters[one.rater].kind == kind]


def of_pools(
    study: StudySettings, at: int, parts: list[tuple[pd.DataFrame, dict[str, Any]]]
) -> dict[str, Looked]:
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


def read_parts(
    name: str, rules: list[StudySettings], asked: dict[str, Any]
) -> tuple[list[tuple[pd.DataFrame, dict[str, Any]]], list[str]]:
    """The tables of the parts that count by any rule, each with what it was made by, and the names of the
    others."""
    seeds = {seed for rule in rules for seed in rule.seeds.all()}
    found, strange = [], []
    for table, facts in part.parts(name):
        own = facts["pool"] in rules[0].pools and set(facts["seeds"]) <= seeds
        if not own or not part.is_kept(table, facts, asked):
            strange.append(table.name)
            continue
        short = {full: short for short, full in columns(facts["names"], facts["likelihood"]).items()}
        whole = pd.read_csv(table).rename(columns=short)
        main = whole[whole["reference"] == facts["reference"]].iloc[0]
        found.append((whole, facts | {key: int(main[key]) for key in ("n", "reference_n")}))
    return found, strange


def one_rule(
    study: StudySettings, label: str, parts: list[tuple[pd.DataFrame, dict[str, Any]]]
) -> study_page.Rule:
    """What a rule says at the last look for which all seeds are there, on every pool."""
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
    at = registered.look(study, min(counts.values()))
    found: list[registered.Judged] = []
    cannot = ""
    if at:
        try:
            looked = of_pools(study, at, parts)
            tables = {pool: one.table for pool, one in looked.items()}
            deciding = {pool: one.reference for pool, one in looked.items()}
            found = registered.judged(study, tables, seeds[:at], deciding)
        except Refusal as error:  # an older rule may name arms that a later run has not
            cannot = str(error)
    return study_page.Rule(label, study, at, counts, found, cannot)


if __name__ == "__main__":
    stage(run)
