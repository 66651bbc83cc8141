"""Arms at equal cost: what rating and training took beside what came out, and when a rating has paid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import cast

import pandas as pd

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import better


@dataclass(frozen=True)
class Entry:
    """One arm at one of its checkpoints, means over seeds."""

    selection: str
    ratio: float
    model: str
    points: tuple[str, ...]  # comparisons that the checkpoint serves in every seed, curve where none
    images: int
    rating: float  # TFLOP; NaN where nobody counted them
    training: float  # TFLOP until here
    figure: float
    n: int
    front: bool = False  # nothing else that takes as little, rating counted, is better
    front_without: bool = False  # the same with ratings for nothing, as of one that is there already
    pays_after: float = math.inf  # targets from which on rating and training take less than a control as good

    @property
    def total(self) -> float:
        """Rating and training."""
        return self.rating + self.training

    @property
    def rating_images(self) -> float:
        """Images of this training that take what the rating takes; NaN where nobody counted."""
        return self.rating / self.training * self.images if self.training else math.nan


def arena(table: pd.DataFrame, metric: str, controls: Sequence[str] = (FULL, "random")) -> list[Entry]:
    """Every arm and checkpoint of a tidy table with `rate_tflop` and `train_tflop`, the cheapest first.

    Checkpoints at which every seed of the arm was measured. `controls` are selections without a rating,
    beside which one pays: by the least training of one model whose mean figure is as good. 0 where no control
    comes as far however long it trains; infinite where one does for less.
    """
    sign, rows = better(metric), list[Entry]()
    key = ["selection", "ratio", "model", "images"]
    seeds = table.groupby(key[:3])["seed"].nunique()
    for found, part in table.groupby(key, sort=False):
        selection, ratio, model, images = cast(tuple[str, float, str, int], found)
        runs = part.drop_duplicates("seed")
        if len(runs) < seeds[selection, ratio, model]:  # some are best there, and others were not measured
            continue
        served = part.groupby("point", sort=False)["seed"].nunique()
        points = tuple(str(one) for one, of in served.items() if one != "curve" and of == len(runs))
        rating, training, figure = (
            float(runs[name].mean(skipna=False)) for name in ("rate_tflop", "train_tflop", metric)
        )
        rows.append(
            Entry(selection, ratio, model, points or ("curve",), images, rating, training, figure, len(runs))
        )
    base = [one for one in rows if one.selection in controls]
    out = []
    for one in rows:
        good = sign * one.figure

        def leads(cost: str, one: Entry = one, good: float = good) -> bool:
            own = getattr(one, cost)
            return not math.isnan(own) and not any(
                (getattr(other, cost) <= own and sign * other.figure > good)
                or (getattr(other, cost) < own and sign * other.figure >= good)
                for other in rows
                if other.model == one.model
            )

        as_good = [
            other.training for other in base if other.model == one.model and sign * other.figure >= good
        ]
        saved = min(as_good) - one.training if as_good else math.inf
        pays = 0.0 if one.rating == 0 or not as_good else one.rating / saved if saved > 0 else math.inf
        pays = math.ceil(pays) if math.isfinite(pays) else pays
        out.append(replace(one, front=leads("total"), front_without=leads("training"), pays_after=pays))
    return sorted(out, key=lambda one: (one.model, one.total))
