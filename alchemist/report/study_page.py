"""The page of a registered study: what was said before, whether it changed, and what each claim came to."""

import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from alchemist.analysis.arena import Entry
from alchemist.analysis.beside import Row
from alchemist.analysis.equal_cost import Reached
from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.references import WORDS
from alchemist.analysis.registered import Judged, also, together
from alchemist.analysis.words import ALL_POINTS, number, percent, several
from alchemist.core.settings.study import ClaimSettings, StudySettings
from alchemist.report.elements import Table, arm_name
from alchemist.report.template import rendered
from alchemist.report.words import LOSS, interval_text, loss_cell, p_text

# The metrics of a study's margins, where there is no room for their networks.
SHORT = {"fd": "FD", "fd_coded": "tokenised FD", "kid": "KID", "clip": "CLIP-Score", "nll": "NLL"}


@dataclass(frozen=True)
class Rule:
    """What one rule says of the figures."""

    label: str  # who says it: a registration's commit, or params.yaml as it stands
    study: StudySettings
    at: int  # seeds of the last look for which all pools are there; 0 before the first
    counts: dict[str, int]  # seeds that are there, by pool
    found: list[Judged]  # empty before the first look
    cannot: str = ""  # why the figures that are there cannot be read by it


@dataclass(frozen=True)
class StudyPage:
    """All that the page tells."""

    name: str
    study: StudySettings
    composed: list[str]  # its pools that we composed, where clean pairs alone decide
    values: list[str]  # that it sets beyond the blocks that it names
    registered: list[tuple[str, bool | None]]  # commits, and whether their params.yaml says what is told here
    changes: list[list[str]]  # after each registration, up to params.yaml as it stands
    code: list[str] | None  # commits that changed what makes verdicts since the registration in force
    parts: list[dict[str, Any]]  # by what each was made
    strange: list[str]  # files that do not count
    unknown: list[str]  # parts made under a registration that is no longer told of
    judged: list[Rule]  # the registration in force first
    every: dict[tuple[str, str], list[Row]]  # by pool and reference; of the seeds of the last look
    reached: dict[str, list[Reached]]  # by pool, where a claim is decided at equal cost
    arenas: dict[tuple[str, str, str], list[Entry]]  # by pool, reference and metric; of those seeds too


def render(page: StudyPage) -> str:
    """The page as HTML that loads nothing."""
    first = page.judged[0]
    names = page.parts[0]["names"] if page.parts else {}
    return rendered(
        "study",
        page=page,
        first=first,
        rule=rule_table(page.study),
        claims=claim_table(page.judged),
        deciding=comparisons([one for one in first.found if one.decides], names) if first.found else None,
        beside=[
            (f"{title}, {WORDS[reference]}", found and comparisons(found, names))
            for (title, reference), found in _beside(first.found, page.study.point).items()
        ],
        seeds=seed_table(first.found, names) if first.found else None,
        every=[
            (f"{pool}, {WORDS[reference]}", every_table(found, names))
            for (pool, reference), found in page.every.items()
        ],
        reached=[(pool, reached_table(found)) for pool, found in page.reached.items()],
        arenas=[
            (pool, WORDS[reference], arena_table(found, metric, names))
            for (pool, reference, metric), found in page.arenas.items()
        ],
        parts=part_table(page.parts),
        views=sorted({(one["pool"], WORDS[one["reference"]]) for one in page.parts}),
        pools=_pools(page.parts),
        confidence=percent(page.study.confidence),
    )


def rule_table(study: StudySettings) -> Table:
    """The claims as they were asked."""
    rows = []
    for name in study.claims:
        asked = study.claim(name)
        assert asked.metric is not None
        assert asked.point is not None
        which = "primary" if name == study.primary else "Holm"
        where = f"{asked.metric} at {ALL_POINTS[asked.point]}, model {asked.model}"
        rows.append(
            [name, asked.says, compares(asked), where, f"{study.margins.named()[asked.metric]:g}", which]
        )
    return Table(["claim", "says", "compares", "decides", "margin", "correction"], rows, left=4)


def compares(asked: ClaimSettings) -> str:
    """The arms of a claim, which is whole."""
    assert asked.ratio is not None
    return f"{arm_name(asked.arm, asked.ratio)} before {arm_name(asked.against, asked.ratio)}"


def claim_table(judged: list[Rule]) -> Table | None:
    """Each claim over all pools, a column a rule, the first with what other figures say; or None."""
    if not any(one.found for one in judged):
        return None
    claims = list(dict.fromkeys(claim for one in judged for claim in one.study.claims))
    rows = []
    for claim in claims:
        study = next(one.study for one in judged if claim in one.study.claims)
        says = Markup("{}<small>{}</small>").format(study.claims[claim].says, compares(study.claim(claim)))
        row: list[str] = [claim, says]
        for one in judged:
            own = [j for j in one.found if j.decides and j.claim == claim]
            word = Markup("<b>{}</b>").format(together(own, claim)) if own else Markup("\N{EN DASH}")
            lines = [] if own else [one.cannot]
            for j in own:
                lines.append(f"{j.pool}: {j.outcome.word}, {j.outcome.why}")
                lines += also_text(one.found, j) if one is judged[0] else []
            small = Markup('<small class="why">{}</small>')
            row.append(word + Markup().join(small.format(line) for line in lines))
        rows.append(row)
    return Table(
        ["claim", "says", *(f"{one.label}, {several(one.at, 'seed')}" for one in judged)],
        rows,
        left=2 + len(judged),
    )


def also_text(found: list[Judged], one: Judged) -> list[str]:
    """What other figures say of a claim at its point, a line a reference: those for it, those against."""

    def name(other: Judged) -> str:
        n = other.outcome.interval.n
        return SHORT[other.metric] + (f" ({n} seeds)" if n != one.outcome.interval.n else "")

    lines = []
    for said in also(found, one):
        sides = [
            f"{side} {', '.join(map(name, others))}"
            for side, others in (("for it", said.better), ("against it", said.worse))
            if others
        ]
        where = "" if said.reference == one.reference else f"{WORDS[said.reference]}: "
        lines.append(where + "; ".join(sides))
    return lines


def comparisons(found: list[Judged], names: dict[str, str]) -> Table:
    """A row a claim and pool."""
    rows = []
    for one in found:
        end, (scale, digits) = one.outcome, shown(one.metric, names)
        needed = "" if end.word != "inconclusive" else str(end.needed) if end.needed else "over 1,000"
        rows.append(
            [
                one.claim,
                one.pool,
                f"{metric_name(one.metric, names)}, {ALL_POINTS[one.asked.point or '']}",
                Markup("<b>{}</b><small>{}</small>").format(end.word, end.why),
                interval_text(end.interval, digits, True, scale),
                number(scale * end.margin, digits),
                number(end.interval.n),
                p_text(end.corrected.better),
                p_text(end.corrected.worse),
                p_text(end.corrected.less),
                p_text(end.corrected.equal),
                needed,
            ]
        )
    head = ["claim", "pool", "in", "verdict", "difference and interval", "margin", "n"]
    tests = ["p, better", "p, worse", "p, less than the margin", "p, equal"]
    return Table([*head, *tests, "seeds to end it"], rows, left=4)


def _beside(found: list[Judged], deciding: str) -> dict[tuple[str, str], list[Judged]]:
    """What stands beside, by point and reference, those that decide first.

    Nothing where each arm's best checkpoint is its last, which is that of equal images.
    """
    out: dict[tuple[str, str], list[Judged]] = {}
    for one in sorted(found, key=lambda one: (not one.main, one.asked.point != deciding)):
        out.setdefault((one.asked.point or "", one.reference), []).append(one)
    told = {}
    for (point, reference), own in out.items():
        last = out.get(("equal_images", reference), [])
        is_same = point == "best" and [one.differences for one in own] == [one.differences for one in last]
        told[f"All metrics at {ALL_POINTS[point]}", reference] = [] if is_same else own
    return told


def _pools(parts: list[dict[str, Any]]) -> list[str]:
    """Which parts of a pool were made of the same bytes, where not all were."""
    out = []
    for pool in dict.fromkeys(one["pool"] for one in parts):
        by_bytes: dict[str, list[dict[str, Any]]] = {}
        for one in parts:
            if one["pool"] == pool:
                by_bytes.setdefault(one["pool_sha256"], []).append(one)
        told = [
            f"{' and '.join(_seeds(one) for one in same)} with {number(same[0]['n'])} prompts and "
            f"{number(same[0]['reference_n'])} references"
            for same in by_bytes.values()
        ]
        if len(told) > 1:
            out.append(f"{pool}: seeds {'; seeds '.join(told)}")
    return out


def _seeds(part: dict[str, Any]) -> str:
    first, last = part["seeds"][0], part["seeds"][-1]
    return str(first) if first == last else f"{first}\N{EN DASH}{last}"


def seed_table(judged: list[Judged], names: dict[str, str]) -> Table:
    """The deciding differences seed by seed."""
    deciding = [one for one in judged if one.decides]
    seeds = sorted({seed for one in deciding for seed in one.differences})
    rows = []
    for one in deciding:
        scale, digits = shown(one.metric, names)
        found = one.differences  # of a claim that an earlier look ended, of its seeds alone
        each = [number(scale * found[seed], digits, True) if seed in found else "" for seed in seeds]
        rows.append([one.claim, one.pool, *each])
    return Table(["claim", "pool", *map(str, seeds)], rows, left=2)


def every_table(found: list[Row], names: dict[str, str]) -> Table:
    """A row an arm: in each metric its mean, and what it is less each control; its losses."""
    columns = dict.fromkeys(key for one in found for key in one.less)
    metrics = list(dict.fromkeys(metric for one in found for metric in one.means))
    head = ["arm", "model", LOSS]
    rows: list[list[str]] = [
        [arm_name(*one.arm), one.model, loss_cell(one.losses) if one.losses else ""] for one in found
    ]
    for metric in metrics:
        scale, digits = shown(metric, names)
        controls = [control for own, control in columns if own == metric]
        head += [metric_name(metric, names), *(f"less {control}" for control in controls)]
        for row, one in zip(rows, found, strict=True):
            row.append(number(scale * one.means.get(metric, math.nan), digits))
            gaps = [one.less.get((metric, control)) for control in controls]
            row += [interval_text(gap, digits, True, scale) if gap else "" for gap in gaps]
    return Table(head, rows, left=2)


def reached_table(found: list[Reached]) -> Table:
    """A row an arm, model and checkpoint."""
    rows = [
        [arm_name(one.selection, one.ratio), one.model, number(one.images), number(one.seeds)]
        + [number(cost, 2) for cost in (one.rating, one.training)]
        for one in found
    ]
    return Table(["arm", "model", "images", "seeds", "rating, TFLOP", "training"], rows, left=2)


def arena_table(found: list[Entry], metric: str, names: dict[str, str]) -> Table:
    """Every arm and checkpoint, the cheapest first."""
    scale, digits = shown(metric, names)
    rows = []
    for one in found:
        where = ", ".join(ALL_POINTS.get(point, point) for point in one.points)
        front = ["yes" if is_on else "" for is_on in (one.front, one.front_without)]
        pays = "" if one.rating == 0 else "never" if math.isinf(one.pays_after) else number(one.pays_after)
        spent = [number(cost, 1) for cost in (one.rating, one.training, one.total)]
        figure = number(scale * one.figure, digits)
        images = [number(count) for count in (one.images, one.rating_images)]
        rows.append(
            [arm_name(one.selection, one.ratio), one.model, where, *images, *spent, figure, *front, pays]
        )
    head = ["arm", "model", "at", "images", "rating, as images", "rating, TFLOP", "training", "together"]
    tail = ["on the front", "rating for nothing", "pays after"]
    return Table([*head, metric_name(metric, names), *tail], rows, left=3)


def part_table(parts: list[dict[str, Any]]) -> Table | None:
    """By what each part was made."""
    rows = []
    for one in parts:
        code = (one["commit"] or "no git")[:10] + (", edited" if one["edited"] else "")
        minutes = sum(one["seconds"].values()) / 60
        rows.append(
            [
                one["pool"],
                _seeds(one),
                code,
                f"torch {one['versions']['torch']}",
                str(one["hardware"]),
                number(one["n"]),
                number(one["reference_n"]),
                number(one["cells"]),
                number(minutes / one["cells"], 1),
            ]
        )
    head = ["pool", "seeds", "commit", "versions", "hardware"]
    return Table([*head, "prompts", "references", "cells", "minutes a cell"], rows, left=5) if rows else None
