"""When an arm first is as good as a figure: curves by images, and what was spent until then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.analysis.cost import NOTHING, Bills, Spent, mean, rating_of, training_until
from alchemist.analysis.grid import FULL, Study
from alchemist.analysis.metrics import better
from alchemist.analysis.words import BEST
from alchemist.core.refusal import Refusal

Goal = Literal["last", "best"]  # whose figure is to be reached: of an arm's own checkpoints
GOALS: dict[Goal, str] = {"last": "final", "best": "best"}  # in words, the one that decides first


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


def curves(
    table: pd.DataFrame, selection: str, ratio: float, model: str, metric: str
) -> dict[int, "pd.Series[float]"]:
    """The figure by images of every seed of an arm, images rising; empty where there is no cell.

    Where the curves were not measured, a seed's best checkpoint is no point of its curve: the mean of an arm
    there would be of those seeds alone that are good there.
    """
    here = _of(table, selection, ratio, model)
    seeds, images, points, figures = (
        table[name].to_numpy()[here] for name in ("seed", "images", "point", metric)
    )
    seen: dict[float, set[int]] = {}
    for at, seed in zip(images.tolist(), seeds.tolist(), strict=True):
        seen.setdefault(at, set()).add(seed)
    every = set(seeds.tolist())
    is_of_all = np.array([seen[at] == every for at in images.tolist()], bool)
    is_point = is_of_all | (points != BEST)
    out = {}
    for seed in sorted(set(seeds[is_point].tolist())):
        mine = np.flatnonzero(is_point & (seeds == seed))
        rising, first = np.unique(images[mine], return_index=True)
        out[int(seed)] = pd.Series(figures[mine[first]], index=rising)
    return out


def cells_of(table: pd.DataFrame, selection: str, ratio: float, model: str) -> dict[int, str]:
    """Cells of an arm of the tidy table by seed; for the full data whatever the ratio."""
    here = _of(table, selection, ratio, model)
    cells, seeds = table["cell"].to_numpy()[here], table["seed"].to_numpy()[here]
    return {int(seed): str(cell) for seed, cell in zip(seeds, cells, strict=True)}


def _of(table: pd.DataFrame, selection: str, ratio: float, model: str) -> NDArray[np.bool_]:
    """Which rows of the tidy table are of one arm, of all seeds and points."""
    here = (table["selection"].to_numpy() == selection) & (table["model"].to_numpy() == model)
    found: NDArray[np.bool_] = here if selection == FULL else here & (table["ratio"].to_numpy() == ratio)
    return found


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


def reaches(
    study: Study,
    table: pd.DataFrame,
    bills: Bills,
    arm: tuple[str, float],
    model: str,
    metric: str,
    thresholds: Mapping[int, float],
) -> tuple[Reach, ...]:
    """When each seed of an arm first is as good as that seed's threshold. Raises Refusal for other seeds."""
    selection, ratio = arm
    found = curves(table, selection, ratio, model, metric)
    if list(found) != sorted(thresholds):
        raise Refusal(
            f"{selection} at {ratio} for model {model} has the seeds {list(found)}; to be paired it should "
            f"have {sorted(thresholds)}."
        )
    names = cells_of(table, selection, ratio, model)
    out = []
    for seed, curve in found.items():
        images = time_to(curve, thresholds[seed], better(metric) > 0)
        early = images is not None and images == curve.index[0]
        training = None if images is None else training_until(bills, names[seed], images)
        rating = [part for part in rating_of(study, bills, selection, seed) if part is not None]
        ends = int(curve.index[0]), int(curve.index[-1])
        out.append(Reach(seed, thresholds[seed], images, early, *ends, training, sum(rating, NOTHING)))
    return tuple(out)


def goals(
    table: pd.DataFrame, selection: str, ratio: float, model: str, metric: str, goal: Goal = "last"
) -> dict[int, float]:
    """The figure of every seed of an arm at its last checkpoint, or its best; empty where there is no cell.

    Best is by this very metric, of the points of `curves`, each seed for itself.
    """
    found = curves(table, selection, ratio, model, metric)
    if goal == "last":
        return {seed: float(curve.iloc[-1]) for seed, curve in found.items()}
    return {seed: float(curve.max() if better(metric) > 0 else curve.min()) for seed, curve in found.items()}


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
        thresholds = goals(table, against, arm[1], model, metric)
        if not thresholds or not cells_of(table, *arm, model):
            continue
        runs = reaches(study, table, bills, arm, model, metric, thresholds)
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
