"""How many times faster an arm is than another, and after how many runs its rating has paid for itself."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from alchemist.analysis.cost import NOTHING, Bills, mean, training_until
from alchemist.analysis.grid import Study
from alchemist.analysis.reach import Goal, Reach, cells_of, goals, reaches
from alchemist.analysis.statistics import Interval, paired, ratio_interval
from alchemist.core.refusal import Refusal

Bound = Literal["exact", "at most", "at least", "unknown"]


@dataclass(frozen=True)
class BreakEven:
    """Target runs after which a rating has paid for itself; None where nothing is saved."""

    runs: int | None
    at_best: int | None  # at the ends of the saving's interval; None with one seed or where it saves nothing
    at_worst: int | None


@dataclass(frozen=True)
class Speedup:
    """Cost of `against` until its own last or best figure over cost of `arm` until the same, by seed.

    Intervals are of the ratio (see `statistics.ratio_interval`; larger is faster) and None with one
    seed; for FLOPs also where they were not counted. A seed in which the arm never reaches the figure
    enters with its last checkpoint, so that its ratio is an upper bound, and one in which it has the
    figure at its first checkpoint gives a lower bound; see `bounds`. A bound in any seed leaves the
    intervals open on the other side (low 0, high inf), and the means are then bounds too.
    """

    arm: str
    against: str
    ratio: float
    model: str
    metric: str
    goal: Goal  # which figure of `against` both are clocked until
    ours: tuple[Reach, ...]
    theirs: tuple[Reach, ...]
    bounds: dict[int, Bound]  # what each seed's ratio is
    images: Interval | None
    seconds: Interval | None  # training alone
    flops: Interval | None
    seconds_with_rating: Interval | None
    flops_with_rating: Interval | None
    break_even_seconds: BreakEven
    break_even_flops: BreakEven

    @property
    def most(self) -> float:
        """The largest ratio of images that the checkpoints can show: a last one over a first one."""
        return max(theirs.last / ours.first for ours, theirs in zip(self.ours, self.theirs, strict=True))


def speedup(
    study: Study,
    table: pd.DataFrame,
    bills: Bills,
    arm: str,
    against: str,
    ratio: float,
    model: str,
    metric: str,
    confidence: float,
    claimed: float = 1.0,
    goal: Goal = "last",
) -> Speedup:
    """How much earlier an arm has the final figure of another, or its best, paired by seed.

    By the goal `last`, the paper's statement as it is read here, the figure is that of `against` at its
    last checkpoint, which an arm that is trained past its best had long before. (The paper names none;
    its figure 6 has random at epochs 7 and 5 of 9.) By `best` it is the best of all its checkpoints: the
    same one where the curve never turns. Luck chooses it too, on the side of `against` alone. `against`
    is clocked until it first was as good, so that a long flat end of its curve is no credit to the arm.
    p values test `claimed`. Raises Refusal where a side has no cells or the seeds do not match.
    """
    thresholds = goals(table, against, ratio, model, metric, goal)
    if not thresholds:
        raise Refusal(f"the table has no cell of {against} at {ratio} for model {model}.")
    ours = reaches(study, table, bills, (arm, ratio), model, metric, thresholds)
    theirs = reaches(study, table, bills, (against, ratio), model, metric, thresholds)
    cells = cells_of(table, arm, ratio, model)
    spent = [run.training or training_until(bills, cells[run.seed], run.last) for run in ours]
    until = [run.training or NOTHING for run in theirs]  # their own figure, so never None
    whole = [s + run.rating for s, run in zip(spent, ours, strict=True)]
    their_whole = [s + run.rating for s, run in zip(until, theirs, strict=True)]
    reached = all(run.images is not None for run in ours)
    rating, their_rating = mean([run.rating for run in ours]), mean([run.rating for run in theirs])
    bounds = {o.seed: _bound(o, t) for o, t in zip(ours, theirs, strict=True)}

    def interval(of: Iterable[float | None], to: Iterable[float | None]) -> Interval | None:
        pairs = [(a, b) for a, b in zip(of, to, strict=True) if a is not None and b is not None]
        if len(pairs) < max(2, len(ours)):
            return None
        return _open(ratio_interval([a / b for a, b in pairs], confidence, claimed), bounds.values(), claimed)

    def runs(price: float | None, theirs: list[float | None], ours: list[float | None]) -> BreakEven:
        pairs = [(a, b) for a, b in zip(theirs, ours, strict=True) if a is not None and b is not None]
        if price is None or not reached or len(pairs) < len(ours):
            return BreakEven(None, None, None)
        savings = [a - b for a, b in pairs]
        average = sum(savings) / len(savings)
        if len(savings) < 2:
            return BreakEven(break_even(price, average, 0.0), None, None)
        sure = paired(savings, confidence)
        return BreakEven(*(break_even(price, saving, 0.0) for saving in (average, sure.high, sure.low)))

    more = None if rating.flops is None or their_rating.flops is None else rating.flops - their_rating.flops
    return Speedup(
        arm=arm,
        against=against,
        ratio=ratio,
        model=model,
        metric=metric,
        goal=goal,
        ours=ours,
        theirs=theirs,
        bounds=bounds,
        images=interval([t.images for t in theirs], [o.images or o.last for o in ours]),
        seconds=interval([s.seconds for s in until], [s.seconds for s in spent]),
        flops=interval([s.flops for s in until], [s.flops for s in spent]),
        seconds_with_rating=interval([s.seconds for s in their_whole], [s.seconds for s in whole]),
        flops_with_rating=interval([s.flops for s in their_whole], [s.flops for s in whole]),
        break_even_seconds=runs(
            rating.seconds - their_rating.seconds, [s.seconds for s in until], [s.seconds for s in spent]
        ),
        break_even_flops=runs(more, [s.flops for s in until], [s.flops for s in spent]),
    )


def _bound(ours: Reach, theirs: Reach) -> Bound:
    """What is known of theirs / ours where a figure was reached before the first checkpoint or never."""
    if ours.early and theirs.early:
        return "unknown"
    if ours.images is None or theirs.early:
        return "at most"
    return "at least" if ours.early else "exact"


def _open(interval: Interval, bounds: Iterable[Bound], claimed: float) -> Interval:
    """An interval of ratios without the ends that bounds say nothing about.

    p stays where the end that is left can exclude `claimed`, and is 1 where `claimed` lies on the open
    side: it is among what the interval then holds.
    """
    kinds = set(bounds)
    above, below = bool(kinds & {"at least", "unknown"}), bool(kinds & {"at most", "unknown"})
    low, high = 0.0 if below else interval.low, math.inf if above else interval.high
    inside = (above and interval.mean <= claimed) or (below and interval.mean >= claimed)
    p_t, p_flip = (1.0, 1.0) if inside else (interval.p_t, interval.p_flip)
    return replace(interval, low=low, high=high, p_t=p_t, p_flip=p_flip)


def break_even(rating: float, theirs: float | None, ours: float | None) -> int | None:
    """Target runs after which a rating has paid for itself: ceil(rating / (theirs - ours)).

    All three in one unit: the cost of rating once, of the baseline until a figure and of the rated arm
    until the same figure. None where the figure is never reached or nothing is saved; 0 where the
    rating costs nothing more than the baseline's.
    """
    if theirs is None or ours is None or theirs - ours <= 0:
        return None
    # Rounded first: .9 / .3 is a little more than 3 in floating point.
    return max(int(rating > 0), math.ceil(round(rating / (theirs - ours), 9)))
