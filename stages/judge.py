"""The verdicts of a registered study, from the parts that are there: python -m stages.judge NAME.

Writes into reports/studies/NAME a page (index.html) and every comparison (verdicts.csv), and at a look those
by each rule that was registered into reports/history.csv. Trains nothing.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import pandas as pd
import typer

from alchemist.analysis import history, registered
from alchemist.analysis.arena import Entry, arena
from alchemist.analysis.beside import Row, beside
from alchemist.analysis.equal_cost import reached
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name
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
from stages import looks, registration, stage
from stages.history import keep
from stages.looks import Looked


def run(name: Annotated[str, typer.Argument(help="a block of studies")]) -> None:
    """Judges by the rule that was registered last, and by every other that was registered or is in force."""
    given, params = registration.read(name)
    every, asked = registration.registrations(name), registration.last(name)
    now = decides(given, name)
    out = registration.STUDIES / name
    study = study_of(asked)
    said = [*every[::-1], {"commit": "not registered", **now}]
    parts, strange = looks.read_parts(name, [study_of(asked, one["rule"]) for one in said], asked)
    commits = [one["commit"] for one in every]
    seen = [facts["registered"] for _, facts in looks.parts(name)]  # also those that do not count
    first = min((commits.index(commit) for commit in seen if commit in commits), default=len(commits))
    first = min([first, *(number - 1 for number, one in enumerate(every) if one.get("behind"))])
    registered_rules = [one["rule"] for one in every]
    rules: list[tuple[str, str, StudySettings]] = []
    for number, one in enumerate(said):
        own = study_of(asked, one["rule"])
        if own not in [other for *_, other in rules]:
            late = number < len(every) and registered_rules.index(one["rule"]) > first
            label = f"registered by {one['commit'][:10]}" + (", after figures were there" if late else "")
            rules.append((one["commit"], label if number < len(every) else "in force, not registered", own))
    judged = [looks.one_rule(own, label, parts) for _, label, own in rules]
    if judged[0].cannot and not judged[0].found:
        raise Refusal(judged[0].cannot)
    looked = looks.of_pools(study, judged[0].at, parts) if judged[0].found else {}
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
            for line in study_page.also_text(judged[0].found, row):
                print(f"    {line}")
    if judged[0].at < study.seeds.count and registered.has_ended(study, judged[0].found):
        print("every claim has ended: no further part is run")
    if judged[0].cannot:
        print(f"the look behind {judged[0].at} seeds cannot be read: {judged[0].cannot}")
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
) -> dict[tuple[str, str, str], list[Entry]]:
    """Cost and figure of every arm by pool, reference and metric, by the reference that decides first.

    Of models without a likelihood there is no NLL.
    """
    controls = [FULL, *selected_by(params, "random"), *selected_by(params, "copies")]
    return {
        (pool, reference, metric): arena(one.by(reference).dropna(subset=metric), metric, controls)
        for pool, one in looked.items()
        for reference in one.references()
        for metric in told(study)
        if metric in one.table and one.by(reference)[metric].notna().any()
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
        for name in one.references():
            out[pool, name] = beside(one.by(name), study.point, told(study), controls, study.confidence)
    return out


def selected_by(params: Params, kind: str) -> list[str]:
    """The selections whose rater is of a kind."""
    return [name for name, one in params.selections.items() if params.raters[one.rater].kind == kind]


if __name__ == "__main__":
    stage(run)
