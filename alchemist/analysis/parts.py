"""The parts that a claim rests on: comparisons with their intervals, and the words that tell them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from alchemist.analysis.metrics import better, measured, metric
from alchemist.analysis.statistics import Interval, differences, excludes, figures, paired
from alchemist.analysis.words import POINTS, capital, is_or_are, percent, three_digits

Word = Literal["supported", "not supported", "undecided", "not tested"]
COMPARED = ("fd", "nll", "clip")  # metrics in which arms are compared, as far as the models have them
DECIDES = ("equal_epochs", "fd")  # the paper's point and metric


@dataclass(frozen=True)
class Part:
    """One comparison that a claim rests on."""

    what: str  # in words: what is compared, where, in which metric
    unit: str  # a metric's short name, or: percentile, share, rank correlation, times
    interval: Interval  # in that unit; a difference, or for the unit times a ratio
    claimed: float  # the value that the interval must exclude: 0, or the claimed speed-up
    better: Literal[-1, 1]  # side of `claimed` on which the claim is right
    verdict: Word  # supported, not supported or undecided
    decides: bool  # False for what only stands beside
    ratio: float | None = None  # where it was compared, as far as that applies
    model: str | None = None
    point: str | None = None
    pool: str | None = None  # None for the pool of the study


@dataclass(frozen=True)
class Verdict:
    """What this study says about one claim."""

    claim: str  # C1 to C8
    sentence: str
    verdict: Word
    parts: tuple[Part, ...]
    why: str  # a few plain sentences: the part that decided, with interval and n, and what stands beside


def compare(
    table: pd.DataFrame,
    confidence: float,
    arm: str,
    against: str,
    ratio: float,
    model: str,
    pool: str | None = None,
) -> list[Part]:
    """An arm and another at both points in all metrics; nothing where the table lacks a side.

    Raises Refusal where the seeds of both sides do not match.
    """
    out = []
    for point, told_point in POINTS.items():
        for name in compared_in(table):
            sides = [figures(table, side, ratio, model, point, name) for side in (arm, against)]
            # A figure that nobody could take is no missing cell.
            if any(len(side) < 2 or side.isna().any() for side in sides):
                continue
            found = differences(table, arm, against, ratio, model, point, name)
            interval = paired(list(found.values()), confidence)
            where = f"at {percent(ratio)}, model {model}" + (f", pool {pool}" if pool else "")
            out.append(
                Part(
                    what=f"{metric(name).word} at {told_point}, {arm} less {against} {where}",
                    unit=name,
                    interval=interval,
                    claimed=0.0,
                    better=better(name),
                    verdict=word_of(interval, 0.0, better(name)),
                    decides=(point, name) == DECIDES,
                    ratio=ratio,
                    model=model,
                    point=point,
                    pool=pool,
                )
            )
    return out


def compared_in(table: pd.DataFrame) -> list[str]:
    """The metrics of a tidy table in which arms are compared."""
    return [name for name in COMPARED if name in measured(table)]


def beside(part: Part) -> Part:
    """The part as one that does not decide."""
    return replace(part, decides=False)


def word_of(interval: Interval, claimed: float, side: int) -> Word:
    """The verdict on one part: whether its interval lies wholly on one side of what is claimed."""
    found = side * excludes(interval, claimed)
    return "supported" if found > 0 else "not supported" if found < 0 else "undecided"


def together(words: Iterable[Word]) -> Word:
    """The verdict on a claim from those on its parts."""
    said = set(words)
    if not said:
        return "not tested"
    if "not supported" in said:
        return "not supported"
    return "supported" if said == {"supported"} else "undecided"


# ---------------------------------------------------------------------------------------- words


def lacks(what: str) -> str:
    """Why nothing was compared."""
    return f"The grid lacks {what}."


def told(parts: Sequence[Part], confidence: float) -> str:
    """The part that decided with its interval, how many parts there are, and what stands beside."""
    deciding = [part for part in parts if part.decides]
    if not deciding:
        return "Nothing that decides was compared." if parts else "No figures of both sides from two seeds."
    word = together(part.verdict for part in deciding)
    key = min((part for part in deciding if part.verdict == word), key=_margin)
    said = f"{capital(key.what)}: {in_words(key, confidence)}."
    if len(deciding) > 1:
        yes, no = _votes(deciding)
        said += f" Of {len(deciding)} parts that decide {yes} {is_or_are(yes)} supported and {no} not."
    others = []
    arms = {part.what.partition(", ")[2] for part in deciding}  # without metric and point
    for name in ("nll", "clip"):
        found = [p for p in parts if p.unit == name and p.point == DECIDES[0]]
        found = [p for p in found if p.what.partition(", ")[2] in arms]
        if found:
            yes, no = _votes(found)
            others.append(f"{metric(name).word} {yes} for and {no} against of {len(found)}")
    return said + (f" Beside it at equal epochs: {', '.join(others)}." if others else "")


def _votes(parts: Sequence[Part]) -> tuple[int, int]:
    words = [part.verdict for part in parts]
    return words.count("supported"), words.count("not supported")


def in_words(part: Part, confidence: float) -> str:
    """Mean, interval and n in words. The interval of a factor is open where a seed gives a bound alone."""
    at, times = part.interval, part.unit == "times"
    sign = part.unit not in ("times", "rank correlation")
    mean, low, high = (three_digits(value, sign) for value in (at.mean, at.low, at.high))
    below, above = times and at.low == 0, math.isinf(at.high)
    lead, span = "", f"{low} to {high}"
    if below and above:
        span = "open at both ends"
    elif above:
        lead, span = "at least ", f"{low} or more"
    elif below:
        lead, span = "at most ", f"{high} or less"
    factor = f"{lead}{mean} times against the claimed {part.claimed:g}" if times else mean
    return f"{factor} ({percent(confidence)} interval {span}, n = {at.n})"


def _margin(part: Part) -> float:
    """How far the near end of the interval lies on the claimed side, in widths from there to the mean."""
    end = part.interval.low if part.better > 0 else part.interval.high
    near, half = part.better * (end - part.claimed), part.better * (part.interval.mean - end)
    return near / half if half > 0 else near * math.inf if near else 0.0
