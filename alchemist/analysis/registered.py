"""Verdicts of a registered study: from the tables of its parts, by a rule that was written down before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from alchemist.analysis.metrics import better
from alchemist.analysis.outcomes import Claimed, Outcome, Word, corrected
from alchemist.analysis.statistics import differences
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
    share Holm's correction, within each pool, reference, metric and point.

    Raises Refusal where a table has not both arms of a claim at every seed, by each reference and point.
    """
    out = []
    for pool, whole in tables.items():
        table = whole[whole["seed"].isin(seeds)]
        points = [point for point in dict.fromkeys(table["point"]) if point != "curve"]
        for claim in study.claims:
            asked = study.claim(claim)
            if asked.metric not in table or asked.point not in points:
                raise Refusal(f"pool {pool} has no {asked.metric} at {asked.point}, which decides {claim}.")
        for reference, point, metric in product(
            dict.fromkeys(table["reference"]), points, study.margins.named()
        ):
            part = table[(table["reference"] == reference) & (table["point"] == point)]
            if metric not in part or part[metric].isna().any():  # of a family or a view that has none
                continue
            gaps = {name: _gaps(part, study, name, metric, point, seeds) for name in study.claims}
            level = alpha(study)
            side, margin = better(metric), study.margins.named()[metric]
            claims: dict[str, Claimed] = {
                n: (list(found.values()), side, margin) for n, found in gaps.items()
            }
            main = reference == deciding[pool]
            for name, end in corrected(claims, study.primary, level).items():
                asked = study.claim(name)
                decides = main and (metric, point) == (asked.metric, asked.point)
                asked = asked.model_copy(update={"point": point})
                out.append(Judged(name, pool, reference, main, metric, asked, decides, gaps[name], end))
    return out


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
            "p_better": one.outcome.p.better,
            "p_less": one.outcome.p.less,
            "p_equal": one.outcome.p.equal,
            "p_flip": one.outcome.interval.p_flip,
            "seeds_needed": one.outcome.needed,
        }
        for one in sorted(found, key=lambda one: not one.decides)
    ]
    return pd.DataFrame(made)
