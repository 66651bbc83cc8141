"""What the arms cost, when they reach a figure, and after how many runs a rating has paid for itself.

Everything in seconds of the device and in floating-point operations; a cost that nobody counted is None.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from alchemist.analysis.results import FULL, HIGHER, Study
from alchemist.analysis.statistics import Interval, paired, ratio_interval
from alchemist.core.refusal import Refusal


@dataclass(frozen=True)
class Spent:
    """Seconds, and floating-point operations where they were counted."""

    seconds: float
    flops: float | None

    def __add__(self, other: "Spent") -> "Spent":
        flops = None if self.flops is None or other.flops is None else self.flops + other.flops
        return Spent(self.seconds + other.seconds, flops)

    @property
    def tflop(self) -> float | None:
        """Operations in units of 10^12."""
        return None if self.flops is None else self.flops / 1e12


NOTHING = Spent(0.0, 0.0)
Bound = Literal["exact", "at most", "at least", "unknown"]


@dataclass(frozen=True)
class Bills:
    """What the stages wrote down about their costs."""

    scores: Mapping[str, Mapping[str, Any]]  # by cell: train_seconds, train_flops, checkpoints
    logs: Mapping[str, Mapping[int, Mapping[str, Any]]]  # rating.json by rater and seed; no oracle
    times: Mapping[str, Mapping[str, Any]]  # by stage (encode, scorer, ...): seconds, perhaps flops


@dataclass(frozen=True)
class ArmCost:
    """The cost of one arm until a point of the comparison, mean over seeds."""

    selection: str
    ratio: float
    model: str
    point: str
    encode: Spent | None  # tokenizing the whole pool, once for all arms
    scorer: Spent | None  # training the CLIP-like scorer, where the rater needs it
    rating_train: Spent | None  # None for the full data and for a rating that nobody clocks
    rating_score: Spent | None
    training: Spent

    @property
    def rating(self) -> Spent | None:
        """Training the rater and scoring the pool, with the scorer where the rater needs it."""
        found = [part for part in (self.scorer, self.rating_train, self.rating_score) if part is not None]
        return sum(found, NOTHING) if self.rating_train is not None else None

    @property
    def total(self) -> Spent:
        """Rating and training. Tokenizing is left out: every arm needs it."""
        return self.training + (self.rating or NOTHING)


@dataclass(frozen=True)
class Reach:
    """When one run first has a figure that is as good as a threshold."""

    seed: int
    threshold: float
    images: float | None  # interpolated between checkpoints; None where it never has
    early: bool  # the first checkpoint has it already, so that the true number may be lower
    first: int  # images at the first checkpoint
    last: int  # images at the last checkpoint
    training: Spent | None  # until then
    rating: Spent  # of the arm; nothing for the full data and for a rating that nobody clocks


@dataclass(frozen=True)
class TimeTo:
    """When an arm reaches the final figure of another, mean over the seeds; None unless all reach it."""

    selection: str
    ratio: float
    model: str
    metric: str
    against: str
    runs: tuple[Reach, ...]  # by seed
    reached: int  # seeds
    images: float | None
    training: Spent | None
    with_rating: Spent | None


@dataclass(frozen=True)
class BreakEven:
    """Target runs after which a rating has paid for itself; None where nothing is saved."""

    runs: int | None
    at_best: int | None  # at the ends of the saving's interval; None with one seed or where it saves nothing
    at_worst: int | None


@dataclass(frozen=True)
class Speedup:
    """Cost of `against` until its own final figure over cost of `arm` until the same figure, by seed.

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


def rating_cost(facts: Mapping[str, Any]) -> tuple[Spent, Spent]:
    """Cost of training a rater and of scoring the pool with it, from its rating.json.

    A run that was killed and resumed clocks only its last try as `seconds`; its log counts them all.
    """
    score = float(facts.get("score_seconds", 0.0))
    logged = float(facts["log"][-1].get("seconds", 0.0)) if facts["log"] else 0.0
    train = max(float(facts["seconds"]) - score, logged)
    return Spent(train, _float(facts.get("train_flops"))), Spent(score, _float(facts.get("score_flops")))


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def mean(spent: Sequence[Spent]) -> Spent:
    """The mean of at least one cost."""
    total = sum(spent[1:], spent[0])
    flops = None if total.flops is None else total.flops / len(spent)
    return Spent(total.seconds / len(spent), flops)


def _rating(
    study: Study, bills: Bills, selection: str, seed: int
) -> tuple[Spent | None, Spent | None, Spent | None]:
    """Scorer, training of the rater and scoring of one selection and seed; None for what it has not."""
    if selection == FULL:
        return None, None, None
    rater = study.selections[selection].rater
    facts = bills.logs.get(rater, {}).get(seed)
    if facts is None:
        return None, None, None
    kind = study.raters[rater].kind
    if kind == "random":  # a hash: none are counted, and there are none to speak of
        facts = {"train_flops": 0.0, "score_flops": 0.0, **facts}
    scorer = _stage(bills, "scorer") if kind == "clip_score" else None
    return scorer, *rating_cost(facts)


def _stage(bills: Bills, name: str) -> Spent | None:
    facts = bills.times.get(name)
    return None if facts is None else Spent(float(facts["seconds"]), _float(facts.get("flops")))


def _training(bills: Bills, cell: str, images: float) -> Spent:
    """Training of a cell until a number of images, to which time and operations are proportional."""
    score = bills.scores[cell]
    part = images / score["checkpoints"][-1]["images"]
    flops = _float(score.get("train_flops"))
    return Spent(part * float(score["train_seconds"]), None if flops is None else part * flops)


def costs(study: Study, bills: Bills, point: str = "equal_epochs") -> list[ArmCost]:
    """The cost of every arm and model, the full data first, then as `study.cells()` orders them.

    Raises Refusal where a cell was not measured at the point.
    """
    arms: dict[tuple[str, float, str], list[tuple[str, int]]] = {}
    for cell in study.cells():
        arms.setdefault((cell.selection, cell.ratio, cell.model), []).append((cell.name, cell.seed))
    out = []
    for (selection, ratio, model), runs in arms.items():
        training, rating = [], []
        for name, seed in runs:
            done = {p: at["images"] for at in bills.scores[name]["checkpoints"] for p in at["points"]}
            if point not in done:
                raise Refusal(f"the cell {name} was not measured at {point}; it was at {', '.join(done)}.")
            training.append(_training(bills, name, done[point]))
            rating.append(_rating(study, bills, selection, seed))
        parts = [[part for part in column if part is not None] for column in zip(*rating, strict=True)]
        scorer, train, score = (mean(part) if part else None for part in parts)
        out.append(
            ArmCost(
                selection=selection,
                ratio=ratio,
                model=model,
                point=point,
                encode=_stage(bills, "encode"),
                scorer=scorer,
                rating_train=train,
                rating_score=score,
                training=mean(training),
            )
        )
    return out


def curves(
    table: pd.DataFrame, selection: str, ratio: float, model: str, metric: str
) -> dict[int, "pd.Series[float]"]:
    """The figure by images of every seed of an arm, images rising; empty where there is no cell."""
    rows = _rows(table, selection, ratio, model)
    out = {}
    for seed in sorted({int(seed) for seed in rows["seed"]}):
        run = rows[rows["seed"] == seed].drop_duplicates("images")
        out[seed] = run.set_index("images")[metric].sort_index()
    return out


def _rows(table: pd.DataFrame, selection: str, ratio: float, model: str) -> pd.DataFrame:
    share = (table["ratio"] == ratio) | (selection == FULL)
    return table[(table["selection"] == selection) & share & (table["model"] == model)]


def time_to(curve: "pd.Series[float]", threshold: float, higher: bool = False) -> float | None:
    """Images at which a curve (figure by images, images rising) first is as good as a threshold.

    Linear between checkpoints, nothing before the first: where the first is good enough already, its
    images are given, which is the largest that the true number can be. None where no checkpoint is
    good enough. Good is at most the threshold, or at least where `higher`.
    """
    sign = -1.0 if higher else 1.0
    images, above = curve.index.to_numpy(dtype=float), sign * (curve.to_numpy(dtype=float) - threshold)
    for i, gap in enumerate(above):
        if gap <= 0:
            if i == 0:
                return float(images[0])
            before = above[i - 1]
            return float(images[i - 1] + (images[i] - images[i - 1]) * before / (before - gap))
    return None


def _reaches(
    study: Study,
    table: pd.DataFrame,
    bills: Bills,
    arm: tuple[str, float],
    model: str,
    metric: str,
    thresholds: Mapping[int, float],
) -> tuple[Reach, ...]:
    """When each seed of an arm is as good as that seed's threshold. The seeds should be the same."""
    selection, ratio = arm
    found = curves(table, selection, ratio, model, metric)
    if list(found) != sorted(thresholds):
        raise Refusal(
            f"{selection} at {ratio} for model {model} has the seeds {list(found)}; to be paired it should "
            f"have {sorted(thresholds)}."
        )
    names = _rows(table, selection, ratio, model).drop_duplicates("seed").set_index("seed")["cell"]
    out = []
    for seed, curve in found.items():
        images = time_to(curve, thresholds[seed], metric in HIGHER)
        early = images is not None and images == curve.index[0]
        training = None if images is None else _training(bills, names[seed], images)
        rating = [part for part in _rating(study, bills, selection, seed) if part is not None]
        ends = int(curve.index[0]), int(curve.index[-1])
        out.append(Reach(seed, thresholds[seed], images, early, *ends, training, sum(rating, NOTHING)))
    return tuple(out)


def _finals(table: pd.DataFrame, selection: str, ratio: float, model: str, metric: str) -> dict[int, float]:
    return {s: float(c.iloc[-1]) for s, c in curves(table, selection, ratio, model, metric).items()}


def times_to(
    study: Study, table: pd.DataFrame, bills: Bills, model: str, metric: str, against: str
) -> list[TimeTo]:
    """Every arm of a model until the final figure of `against` (a selection at the arm's ratio, or full).

    The figure is that of the same seed at its last checkpoint. `against` itself stands among the
    arms: it may have been as good before its end. Arms that `against` has no cell beside are left out.
    """
    arms = [(FULL, 1.0), *study.arms()] if against == FULL else study.arms()
    out = []
    for arm in arms:
        thresholds = _finals(table, against, arm[1], model, metric)
        if not thresholds or _rows(table, *arm, model).empty:
            continue
        runs = _reaches(study, table, bills, arm, model, metric, thresholds)
        done = [run for run in runs if run.images is not None]
        every = len(done) == len(runs)
        spent = [run.training for run in done if run.training is not None]
        whole = [run.training + run.rating for run in done if run.training is not None]
        out.append(
            TimeTo(
                selection=arm[0],
                ratio=arm[1],
                model=model,
                metric=metric,
                against=against,
                runs=runs,
                reached=len(done),
                images=sum(r.images or 0.0 for r in done) / len(done) if every else None,
                training=mean(spent) if every else None,
                with_rating=mean(whole) if every else None,
            )
        )
    return out


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
) -> Speedup:
    """How much earlier an arm has the final figure of another, paired by seed.

    The figure is that of `against` at its last checkpoint; `against` is clocked until it first was as
    good, so that a long flat end of its curve is no credit to the arm. p values test `claimed`.
    Raises Refusal where a side has no cells or the seeds do not match.
    """
    thresholds = _finals(table, against, ratio, model, metric)
    if not thresholds:
        raise Refusal(f"the table has no cell of {against} at {ratio} for model {model}.")
    ours = _reaches(study, table, bills, (arm, ratio), model, metric, thresholds)
    theirs = _reaches(study, table, bills, (against, ratio), model, metric, thresholds)
    cells = _rows(table, arm, ratio, model).drop_duplicates("seed").set_index("seed")["cell"]
    spent = [run.training or _training(bills, cells[run.seed], run.last) for run in ours]
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
    held = (above and interval.mean <= claimed) or (below and interval.mean >= claimed)
    p_t, p_flip = (1.0, 1.0) if held else (interval.p_t, interval.p_flip)
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
