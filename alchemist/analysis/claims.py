"""Which of the paper's eight claims hold in this study, by intervals over seeds.

A part of a claim is supported where the interval of the paired difference excludes zero (or the
claimed speed-up) on the claimed side, not supported where it excludes it on the other side, else
undecided. A claim is supported where all parts that decide are, not supported where one is not, else
undecided; it is not tested where the grid lacks the cells or has one seed, and cannot be supported where
the grid lacks a part of what it speaks of. Claims about quality are decided by the paper's metric and
point, FD at equal epochs; NLL (of models that have one), CLIP-Score and equal images stand beside. No
correction for many parts: to be supported all must be, which is strict already, but of many parts one may
fall on the other side by chance.

Three claims have parts of their own. C6: a rating that orders pairs as low loss does, but for noise, is
a loss ranking whatever it scores; that it does not is no sign of anything more, so the rank correlation
decides only against. C7: a figure that the arm has at its first checkpoint bounds the factor on one side,
and a bound decides on no other. C8: on other pools decide ratings that were carried there, by a rater with
`weights` that else is the paper's; a rater trained anew there moves the method, and stands beside. So it is
with families of models: the rating of one on the models of another decides, on its own it stands beside.
All other claims are about the family of the main model and the ratings by its proxy.
"""

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from alchemist.analysis.agreement import Ratings
from alchemist.analysis.case import Case
from alchemist.analysis.cost import Bills
from alchemist.analysis.grid import Study
from alchemist.analysis.judges_of_quality import c1, c2, c3, c4, c8
from alchemist.analysis.judges_of_ratings import c5, c6
from alchemist.analysis.judges_of_speed import SPEEDUPS, c7
from alchemist.analysis.parts import Part, Verdict, together
from alchemist.analysis.roles import Roles
from alchemist.analysis.words import capital, percent

# What the paper claims, in one sentence each.
CLAIMS = {
    "C1": "Half of the data, selected, gives a lower FID than all of it at equal epochs.",
    "C2": "Selected data beats a random subset of equal size at every ratio and model size.",
    "C3": "Shift-Gsample comes before Gsample, and Gsample before Top-K.",
    "C4": "The Group MLP helps.",
    "C5": "The rating puts plain pairs on top, informative ones in the middle and chaotic ones last.",
    "C6": "The rating is more than a ranking by loss.",
    "C7": "Training is 2.33 times faster than on random data at 20 % and 5 times at 50 %.",
    "C8": "Ratings transfer across model sizes and pools.",
}


def verdicts(
    study: Study,
    table: pd.DataFrame,
    confidence: float,
    *,
    bills: Bills | None = None,
    ratings: Ratings | None = None,
    kinds: "pd.Series[str] | None" = None,
    elsewhere: pd.DataFrame | None = None,
    pool: str = "",
    scale: str = "",
) -> list[Verdict]:
    """A verdict on each of C1 to C8, in order.

    `table` is `results.tidy`; `ratings[rater][seed]` are Series by id and `kinds` the planted truth by
    id (both for C5, the ratings for C6 too); `bills` are for C7; `elsewhere` are tidy tables of other
    pools with the columns pool and scale besides (for C8), of which the rows of another pool and this
    scale count, under the names of selections of this study. `study.selections` and `study.raters` may
    hold more than the grid names: a selection whose rating was carried is looked for among them all.
    What is not given is not tested.

    Raises Refusal where the seeds of two arms do not match.
    """
    if elsewhere is not None:
        elsewhere = elsewhere[(elsewhere["pool"] != pool) & (elsewhere["scale"] == scale)]
    case = Case(study, table, confidence, Roles.of(study), bills, ratings or {}, kinds, elsewhere)
    judges = {"C1": c1, "C2": c2, "C3": c3, "C4": c4, "C5": c5, "C6": c6, "C7": c7, "C8": c8}
    place = ", ".join(f"{word} {name}" for word, name in (("scale", scale), ("pool", pool)) if name)
    out = []
    for claim, judge in judges.items():
        if len(study.grid.seeds) < 2:
            parts: list[Part] = []
            why = f"The grid has one seed ({study.grid.seeds[0]}), and an interval needs at least two."
        else:
            parts, why = judge(case)
        deciding = [part for part in parts if part.decides]
        word = together(part.verdict for part in deciding)
        gaps = _gaps(study, claim, deciding) if parts else []
        if gaps:
            why += f" {'Tested in part' if deciding else 'Not tested'}: {', and '.join(gaps)}."
            word = "undecided" if word == "supported" else word
        said = f"{why} {capital(place)}." if place and parts else why
        out.append(Verdict(claim, CLAIMS[claim], word, tuple(parts), said))
    return out


def untold(found: Sequence[Verdict], why: str) -> list[Verdict]:
    """The claims, none of them tested, for a reason that holds of every figure."""
    return [replace(one, verdict="not tested", parts=(), why=why) for one in found]


def _gaps(study: Study, claim: str, parts: Sequence[Part]) -> list[str]:
    """What a claim speaks of and the parts that decide lack: then it cannot be supported, but it can fail."""
    out = []
    if claim == "C2":
        out += ["it has one ratio alone"] if len({part.ratio for part in parts}) < 2 else []
        out += ["it has one model size alone"] if len({part.model for part in parts}) < 2 else []
        every = {*study.grid.ratios, *(part.ratio for part in parts if part.ratio is not None)}
        for model in [*study.own(), *study.grid.transfer.models]:
            tried = {part.ratio for part in parts if part.ratio is not None and part.model == model}
            if not tried:
                out.append(f"model {model} was compared at no ratio")
            elif tried != every:
                out.append(f"model {model} was compared at {' and '.join(map(percent, sorted(tried)))} alone")
    if claim == "C7":
        tested = {part.ratio for part in parts}
        out += [f"{percent(ratio)} is not in the grid" for ratio in SPEEDUPS if ratio not in tested]
    if claim == "C8":
        here = {part.model for part in parts if part.pool is None}
        if not here:
            out.append("no further model was trained on both subsets")
        elif not here & set(study.grid.transfer.models):
            out.append("no model of another size of one family was trained on both subsets")
        if all(part.pool is None for part in parts):
            out.append("no rating was carried to another pool with two seeds at this scale")
    return out
