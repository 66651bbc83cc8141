"""How a claim ends: verified, falsified, or inconclusive with the number of seeds that would end it.

A claim says that one arm is better than another. Its benefit is the paired difference over seeds, with the
sign that makes better positive. Two tests decide, at an error alpha:

- verified: benefit above 0, by the t-test, one-sided at alpha / 2 (the two-sided interval excludes 0);
- falsified: benefit below the margin, one-sided at alpha. Which covers the other side, and equivalence by
  two one-sided tests within the margin (Schuirmann 1987).

A benefit shown to be above 0 and below the margin is falsified: it is less than what was named as a
difference before the run. Neither: inconclusive. With no true benefit a claim is verified in alpha / 2 of
studies; with one of the margin or more it is falsified in alpha of them (`benchmarks/verdicts.py` counts).
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from alchemist.analysis.statistics import Interval, holm, holm_factors, paired

Word = Literal["verified", "falsified", "inconclusive"]
Kind = Literal["better", "less"]  # of the tests that end a claim
POWER = 0.8  # at which the seeds are reckoned that would end a claim
MOST = 1000  # of those seeds; more are not told


@dataclass(frozen=True)
class Tests:
    """One-sided p values of a claim's t-tests."""

    better: float  # of a benefit above 0
    worse: float  # of one below 0
    less: float  # of a benefit below the margin
    equal: float  # of a difference within the margin on both sides


@dataclass(frozen=True)
class Outcome:
    """What n seeds say of one claim."""

    interval: Interval  # of the difference, arm less against, in the figure's unit
    better: Literal[-1, 1]  # sign of a difference that is a benefit
    margin: float
    p: Tests  # before any correction
    corrected: Tests  # by which it is decided: after Holm's, but for the primary claim
    word: Word
    why: str  # a few words
    needed: int | None  # seeds that end it, see `_needed`; None: over 1,000, or ended


Claimed = tuple[ArrayLike, Literal[-1, 1], float]  # differences, sign of a benefit, margin


def corrected(claims: Mapping[str, Claimed], primary: str, alpha: float) -> dict[str, Outcome]:
    """The outcomes of a study's claims: the primary one as it stands, the others after Holm's correction."""
    p = {name: p_values(*claim) for name, claim in claims.items()}
    others = {name: one for name, one in p.items() if name != primary}
    shared = after_holm(others)
    out = {}
    for name, (found, better, margin) in claims.items():
        tests = shared.get(name, p[name])
        word, why = decided(tests, alpha)
        interval, needed = paired(found, 1 - alpha), None
        if word == "inconclusive":
            seeds = _needed(claims, others if name in others else {name: p[name]}, alpha)[name]
            needed = None if seeds == math.inf else max(int(seeds), interval.n + 1)
        out[name] = Outcome(interval, better, margin, p[name], tests, word, why, needed)
    return out


def after_holm(p: Mapping[str, Tests]) -> dict[str, Tests]:
    """The tests of claims that share a correction, each kind apart, so each errs as often as it says."""
    kinds = [each.name for each in fields(Tests)]
    found = {kind: holm({name: getattr(one, kind) for name, one in p.items()}) for kind in kinds}
    return {name: Tests(**{kind: found[kind][name] for kind in kinds}) for name in p}


def p_values(differences: ArrayLike, better: Literal[-1, 1], margin: float) -> Tests:
    """The one-sided t-tests of a claim; of n >= 2 differences."""
    benefit = better * np.asarray(differences, dtype=np.float64)
    mean, error = float(benefit.mean()), float(benefit.std(ddof=1)) / math.sqrt(len(benefit))
    if (benefit == benefit[0]).all():  # whose mean may round
        mean, error = float(benefit[0]), 0.0

    def above(gain: float) -> float:
        """P of a mean that lies above 0 by so much."""
        if error == 0:
            return 0.5 if gain == 0 else float(gain < 0)
        return float(stats.t.sf(gain / error, len(benefit) - 1))

    less = above(margin - mean)
    return Tests(better=above(mean), worse=above(-mean), less=less, equal=max(less, above(mean + margin)))


def decided(p: Tests, alpha: float) -> tuple[Word, str]:
    """Verdict and reason by the tests of a claim, corrected where it shares a correction."""
    above = p.better <= alpha / 2
    if p.less > alpha:
        return ("verified", "better") if above else ("inconclusive", "open")
    if above:
        return "falsified", "better, by less than the margin"
    if p.worse <= alpha / 2:
        return "falsified", "worse"
    return "falsified", "equal within the margin" if p.equal <= alpha else "not better by the margin"


def _needed(claims: Mapping[str, Claimed], p: Mapping[str, Tests], alpha: float) -> dict[str, float]:
    """Seeds by which either test ends each claim of `p`, if means, spreads and the order of the claims stay.

    Holm's correction steps down: no claim is rejected before those of smaller p are, so it needs no fewer
    seeds than they do.
    """

    def alone(kind: Kind, name: str, times: int) -> float:
        differences, better, margin = claims[name]
        seen = paired(differences, 1 - alpha)
        return seeds_needed(kind, better * seen.mean, seen.sd, margin, alpha, times)

    by_test = []
    for kind in get_args(Kind):
        order = holm_factors({name: getattr(one, kind) for name, one in p.items()})  # the smallest first
        each = itertools.accumulate((alone(kind, name, times) for name, times in order.items()), max)
        by_test.append(dict(zip(order, each, strict=True)))
    return {name: min(found[name] for found in by_test) for name in p}


def seeds_needed(kind: Kind, benefit: float, sd: float, margin: float, alpha: float, times: int = 1) -> float:
    """The least n at which a test ends a claim of this true benefit with a power of .8.

    By the noncentral t. `times` is what Holm's correction multiplies the test's p values by. Infinite beyond
    1,000 seeds, as `better` is for no benefit and `less` for one of the margin.
    """
    gain, error = (benefit, alpha / 2) if kind == "better" else (margin - benefit, alpha)
    if sd == 0:
        return 2 if gain > 0 else math.inf

    def is_enough(n: int) -> bool:
        cut = stats.t.isf(error / times, n - 1)
        return bool(np.nan_to_num(stats.nct.sf(cut, n - 1, gain / sd * math.sqrt(n))) >= POWER)

    enough = 2
    while not is_enough(enough):
        if enough >= MOST:
            return math.inf
        enough = min(2 * enough, MOST)
    short = enough // 2
    while enough - short > 1:  # power rises with n
        middle = (short + enough) // 2
        short, enough = (short, middle) if is_enough(middle) else (middle, enough)
    return enough
