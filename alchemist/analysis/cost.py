"""What the arms cost: encoding, rating and training, from what the stages wrote down.

Everything in seconds of the device and in floating-point operations; a cost that nobody counted is None.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from alchemist.analysis.grid import FULL, Study
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


@dataclass(frozen=True)
class Bills:
    """What the stages wrote down about their costs."""

    scores: Mapping[str, Mapping[str, Any]]  # by cell: train_seconds, train_flops, checkpoints
    logs: Mapping[str, Mapping[int, Mapping[str, Any]]]  # rating.json and timing by rater, seed; no oracle
    times: Mapping[str, Mapping[str, Any]]  # by stage (encode@FAMILY, scorer, ...): seconds, perhaps flops


@dataclass(frozen=True)
class ArmCost:
    """The cost of one arm until a point of the comparison, mean over seeds."""

    selection: str
    ratio: float
    model: str
    point: str
    encode: Spent | None  # of the whole pool, once for all arms
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
        """Rating and training. Encoding the pool is left out: every arm needs it."""
        return self.training + (self.rating or NOTHING)


def rating_cost(kind: str, facts: Mapping[str, Any]) -> tuple[Spent, Spent]:
    """Cost of training a rater of a kind and of scoring the pool, from its rating.json and its timing.

    A draw at random takes no operations to speak of.
    """
    if kind == "random":
        facts = {**facts, "train_flops": 0.0, "score_flops": 0.0}
    score = float(facts.get("score_seconds", 0.0))
    train = float(facts["seconds"]) - score
    return Spent(train, _float(facts.get("train_flops"))), Spent(score, _float(facts.get("score_flops")))


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


def mean(spent: Sequence[Spent]) -> Spent:
    """The mean of at least one cost."""
    total = sum(spent[1:], spent[0])
    flops = None if total.flops is None else total.flops / len(spent)
    return Spent(total.seconds / len(spent), flops)


def rating_of(
    study: Study, bills: Bills, selection: str, seed: int
) -> tuple[Spent | None, Spent | None, Spent | None]:
    """Scorer, training of the rater and scoring of one selection and seed; None for what it does not have."""
    if selection == FULL:
        return None, None, None
    rater = study.selections[selection].rater
    facts = bills.logs.get(rater, {}).get(seed)
    if facts is None:
        return None, None, None
    kind = study.raters[rater].kind
    scorer = _stage(bills, "scorer") if kind == "clip_score" else None
    return scorer, *rating_cost(kind, facts)


def _stage(bills: Bills, name: str) -> Spent | None:
    facts = bills.times.get(name)
    return None if facts is None else Spent(float(facts["seconds"]), _float(facts.get("flops")))


def training_until(bills: Bills, cell: str, images: float) -> Spent:
    """Training of a cell until a number of images, to which time and operations are proportional."""
    score = bills.scores[cell]
    part = images / score["checkpoints"][-1]["images"]
    flops = _float(score.get("train_flops"))
    return Spent(part * float(score["train_seconds"]), None if flops is None else part * flops)


def priced(study: Study, bills: Bills, table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy table with what each took: `rate_tflop`, and `train_tflop` until its images.

    In units of 10^12 operations, which no clock moves; nothing where nobody counted them.
    """
    rating, training = list[float](), list[float]()
    for cell, selection, seed, images in zip(
        table["cell"], table["selection"], table["seed"], table["images"], strict=True
    ):
        found = [part for part in rating_of(study, bills, selection, seed) if part is not None]
        rated = sum(found, NOTHING) if found or selection == FULL else Spent(math.nan, None)
        for spent, into in ((rated, rating), (training_until(bills, cell, images), training)):
            into.append(math.nan if spent.tflop is None else spent.tflop)
    return table.assign(rate_tflop=rating, train_tflop=training)


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
            training.append(training_until(bills, name, done[point]))
            rating.append(rating_of(study, bills, selection, seed))
        parts = [[part for part in column if part is not None] for column in zip(*rating, strict=True)]
        scorer, train, score = (mean(part) if part else None for part in parts)
        out.append(
            ArmCost(
                selection=selection,
                ratio=ratio,
                model=model,
                point=point,
                encode=_stage(bills, f"encode@{study.grid.family_of(model)}"),
                scorer=scorer,
                rating_train=train,
                rating_score=score,
                training=mean(training),
            )
        )
    return out
