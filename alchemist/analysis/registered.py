"""Verdicts of a registered study: from the tables of its parts, by a rule that was written down before."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import pandas as pd

from alchemist.analysis.metrics import better
from alchemist.analysis.outcomes import Claimed, Outcome, Word, corrected
from alchemist.analysis.statistics import differences, figures
from alchemist.analysis.words import EQUAL_COST
from alchemist.core.refusal import Refusal
from alchemist.core.settings.study import ClaimSettings, StudySettings


@dataclass(frozen=True)
class Judged:
    """One claim on one pool in one metric, at one look."""

    claim: str
    pool: str
    reference: str  # the view of the held-out pairs: see alchemist.measures.references
    main: bool  # whether that is the one which decides
    metric: str
    asked: ClaimSettings  # whole, with the point that was looked at
    decides: bool  # metric, point and reference are those that the study named
    differences: dict[int, float]  # by seed, arm less against
    outcome: Outcome


def look(study: StudySettings, count: int) -> int:
    """The last look that so many seeds allow; 0 before the first."""
    return max((seeds for seeds in study.looks if seeds <= count), default=0)


def alpha(study: StudySettings) -> float:
    """The error of each look: that of the study divided evenly among them (Bonferroni)."""
    return (1 - study.confidence) / len(study.looks)


def judged(
    study: StudySettings,
    tables: Mapping[str, pd.DataFrame],
    seeds: Sequence[int],
    deciding: Mapping[str, str],
) -> list[Judged]:
    """Every claim on every pool, by every reference, metric of the margins and point that the tables have.

    `tables` by pool are tidy ones under short names with a column `reference`; `seeds` those of the look;
    `deciding` the reference that decides, by pool. The primary claim is corrected for nothing, the others
    share Holm's correction within each pool: what decides together, though claims name other metrics and
    points, and what stands beside within each reference, metric and point.

    Raises Refusal where a table has not both arms of a claim at every seed, by each reference and point, or
    has no figure of one that decides. At equal_cost a claim may lack them where it does not decide.
    """
    out = []
    for pool, whole in tables.items():
        table = whole[whole["seed"].isin(seeds)]
        points = [point for point in dict.fromkeys(table["point"]) if point != "curve"]
        main = table[table["reference"] == deciding[pool]]
        ends = _named(main, study, pool, seeds)
        for reference, point, metric in product(
            dict.fromkeys(table["reference"]), points, study.margins.named()
        ):
            part = table[(table["reference"] == reference) & (table["point"] == point)]
            if metric not in part:
                continue
            gaps = {
                name: _gaps(part, study, name, metric, point, seeds)
                for name in study.claims
                if point != EQUAL_COST or _is_within(part, study, name, metric, seeds)
            }
            claims: dict[str, Claimed] = {
                name: (list(found.values()), better(metric), study.margins.named()[metric])
                for name, found in gaps.items()
                if _is_whole(found)  # not of a family or a view that has none
            }
            is_main = reference == deciding[pool]
            for name, beside in corrected(claims, study.primary, alpha(study)).items():
                asked = study.claim(name)
                decides = is_main and (metric, point) == (asked.metric, asked.point)
                end = ends[name] if decides else beside
                asked = asked.model_copy(update={"point": point})
                out.append(Judged(name, pool, reference, is_main, metric, asked, decides, gaps[name], end))
    return out


def kept(before: Sequence[Judged], now: Sequence[Judged]) -> list[Judged]:
    """What decides at a look behind others: a claim that one of them ended on a pool keeps that verdict.

    What this look says of such a claim stays, and decides nothing. So a claim ends by chance at any look, the
    errors of which add up to the study's.
    """
    ended = {
        (one.claim, one.pool): one for one in before if one.decides and one.outcome.word != "inconclusive"
    }
    out = [*ended.values()]
    for one in now:
        is_over = one.decides and (one.claim, one.pool) in ended
        out.append(replace(one, decides=False) if is_over else one)
    return out


def _named(table: pd.DataFrame, study: StudySettings, pool: str, seeds: Sequence[int]) -> dict[str, Outcome]:
    """The outcomes that decide: each claim in the metric and at the point it named, corrected together."""
    claims: dict[str, Claimed] = {}
    for name in study.claims:
        asked = study.claim(name)
        assert asked.metric is not None
        assert asked.point is not None
        part = table[table["point"] == asked.point]
        found: dict[int, float] = {}
        if asked.metric in part and len(part):
            found = _gaps(part, study, name, asked.metric, asked.point, seeds)
        if not found or not _is_whole(found):
            raise Refusal(
                f"pool {pool} has no {asked.metric} at {asked.point} of every seed, which decides {name}."
            )
        claims[name] = (list(found.values()), better(asked.metric), study.margins.named()[asked.metric])
    return corrected(claims, study.primary, alpha(study))


def _is_within(
    table: pd.DataFrame, study: StudySettings, claim: str, metric: str, seeds: Sequence[int]
) -> bool:
    """Whether both arms of a claim have every seed at equal_cost."""
    asked = study.claim(claim)
    assert asked.ratio is not None
    assert asked.model is not None
    return all(
        set(seeds) <= set(figures(table, side, asked.ratio, asked.model, EQUAL_COST, metric).index)
        for side in (asked.arm, asked.against)
    )


def _is_whole(gaps: Mapping[int, float]) -> bool:
    return all(math.isfinite(gap) for gap in gaps.values())


def _gaps(
    table: pd.DataFrame, study: StudySettings, claim: str, metric: str, point: str, seeds: Sequence[int]
) -> dict[int, float]:
    """The claim's differences by seed, of all seeds of the look."""
    asked = study.claim(claim)
    assert asked.ratio is not None
    assert asked.model is not None
    found = differences(table, asked.arm, asked.against, asked.ratio, asked.model, point, metric)
    if sorted(found) != sorted(seeds):
        raise Refusal(f"{claim} has the seeds {sorted(found)}; the look is at {sorted(seeds)}.")
    return found


def together(found: Sequence[Judged], claim: str) -> Word:
    """A claim over all pools: verified where it is on each, falsified where on one, else inconclusive."""
    words = {one.outcome.word for one in found if one.claim == claim and one.decides}
    if "falsified" in words:
        return "falsified"
    return "verified" if words == {"verified"} else "inconclusive"


@dataclass(frozen=True)
class Also:
    """What the other figures say of a claim that decides, by one reference: each by the same rule."""

    reference: str
    better: list[Judged]  # in which it is better
    worse: list[Judged]


def also(found: Sequence[Judged], one: Judged) -> list[Also]:
    """Of a claim at its point, the reference that decides first; those that tell neither are left out.

    Of a claim that an earlier look ended also the figure that decided, as a later look has it.
    """
    out: dict[str, Also] = {}
    for other in sorted(found, key=lambda each: not each.main):
        is_beside = (other.claim, other.pool, other.asked.point) == (one.claim, one.pool, one.asked.point)
        if is_beside and other is not one:
            said = out.setdefault(other.reference, Also(other.reference, [], []))
            if other.outcome.word == "verified":
                said.better.append(other)
            if other.outcome.why == "worse":
                said.worse.append(other)
    return [said for said in out.values() if said.better or said.worse]


def has_ended(study: StudySettings, found: Sequence[Judged]) -> bool:
    """Whether every claim has a verdict, which no further seed changes."""
    return all(together(found, claim) != "inconclusive" for claim in study.claims)


def rows(found: Sequence[Judged]) -> pd.DataFrame:
    """A row a claim, pool, reference, metric and point, for CSV: the deciding ones first."""
    made = [
        {
            "claim": one.claim,
            "pool": one.pool,
            "reference": one.reference,
            "arm": one.asked.arm,
            "against": one.asked.against,
            "ratio": one.asked.ratio,
            "model": one.asked.model,
            "point": one.asked.point,
            "metric": one.metric,
            "decides": one.decides,
            "verdict": one.outcome.word,
            "why": one.outcome.why,
            "n": one.outcome.interval.n,
            "mean": one.outcome.interval.mean,
            "sd": one.outcome.interval.sd,
            "low": one.outcome.interval.low,
            "high": one.outcome.interval.high,
            "margin": one.outcome.margin,
            **{f"p_{test}": p for test, p in asdict(one.outcome.p).items()},
            **{f"p_{test}_holm": p for test, p in asdict(one.outcome.corrected).items()},
            "p_flip": one.outcome.interval.p_flip,
            "seeds_needed": one.outcome.needed,
        }
        for one in sorted(found, key=lambda one: not one.decides)
    ]
    return pd.DataFrame(made)
