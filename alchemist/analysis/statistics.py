"""Paired differences over seeds: intervals, sign-flip tests, Holm's correction, the named contrasts.

The unit is the training seed. Arms of one seed are a pair, so that what a seed does to both cancels.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import better, measured, of_model
from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.contrast import ContrastSettings, StatisticsSettings

ENUMERATED = 16  # up to so many differences all sign patterns are tried
_DRAWN = 1 << 16  # sign patterns beyond that


@dataclass(frozen=True)
class Interval:
    """The mean of n paired differences (or the geometric mean of n paired ratios) and how sure it is."""

    n: int
    mean: float
    sd: float  # over n - 1; of the logarithms where the mean is a ratio
    low: float  # 0, and high inf, where bounds leave a ratio open (see `speedup.Speedup`)
    high: float
    p_t: float  # two-sided t-test of the value that means "no effect", or that is claimed
    p_flip: float  # two-sided sign-flip permutation; at n = 3 the least possible is .25


@dataclass(frozen=True)
class Contrast:
    """Figure of `arm` less figure of `against`, paired by seed."""

    name: str
    arm: str
    against: str  # a selection, or full
    ratio: float  # share that the arm keeps
    model: str
    point: str  # equal_epochs, equal_images or best
    metric: str
    primary: bool
    differences: dict[int, float]  # by seed
    interval: Interval
    better: Literal[-1, 1]  # sign of a difference that is in favour of `arm`
    p_holm: float | None  # p_t after Holm; None for the primary contrast, which needs none

    @property
    def favours(self) -> str | None:
        """The side that the interval finds better; None where it holds zero."""
        side = self.better * excludes(self.interval)
        return self.arm if side > 0 else self.against if side < 0 else None


def excludes(interval: Interval, value: float = 0.0) -> Literal[-1, 0, 1]:
    """1 where the interval lies above a value, -1 where it lies below, 0 where it holds the value."""
    return 1 if interval.low > value else -1 if interval.high < value else 0


def paired(differences: ArrayLike, confidence: float, claimed: float = 0.0) -> Interval:
    """The t-interval of the mean of n paired differences, and two tests of a mean of `claimed`.

    `p_flip` is the share of all 2^n sign patterns (of what is left when `claimed` is taken off) under
    which the mean is at least as far from it: exact up to n = 16, beyond that from 65,536 drawn
    patterns. It cannot fall below 2 / 2^n, so at n = 3 the least possible p is .25, at n = 5 .0625, and
    only from n = 6 on can it fall below .05. Equal differences give an interval without width, and p_t
    0 (1 where all are `claimed`).

    Raises Refusal for fewer than two differences and for values that are not finite.
    """
    d = np.asarray(differences, dtype=np.float64).ravel()
    if len(d) < 2:
        raise Refusal(f"an interval was asked for {len(d)} paired difference; it needs at least two seeds.")
    if not np.isfinite(d).all():
        raise Refusal(f"a paired difference is {d[~np.isfinite(d)][0]}; differences should be finite.")
    if not 0 < confidence < 1:
        raise Refusal(f"confidence is {confidence}; it should be between 0 and 1.")
    off = d - claimed
    n, mean, away = len(d), float(d.mean()), float(off.mean())
    sd = 0.0 if (d == d[0]).all() else float(d.std(ddof=1))
    if sd == 0:
        mean = float(d[0])  # the mean of equal values may differ from them by rounding
        return Interval(n, mean, 0.0, mean, mean, float(mean == claimed), sign_flip(off))
    error = sd / math.sqrt(n)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(away) / error, n - 1))
    return Interval(n, mean, sd, mean - half, mean + half, p, sign_flip(off))


def sign_flip(differences: NDArray[np.float64]) -> float:
    """Two-sided p of the sign-flip permutation test of a symmetric distribution around zero."""
    n = len(differences)
    if n <= ENUMERATED:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=n)))
    else:
        drawn = stateless.generator("sign flips", n).integers(2, size=(_DRAWN - 1, n)) * 2.0 - 1.0
        signs = np.concatenate([np.ones((1, n)), drawn])  # what was seen is one of the patterns
    sums = np.abs(signs @ differences)
    # Patterns that tie with what was seen must not be lost to rounding.
    slack = 1e-9 * float(np.abs(differences).sum())
    return float((sums >= abs(float(differences.sum())) - slack).mean())


def ratio_interval(ratios: ArrayLike, confidence: float, claimed: float = 1.0) -> Interval:
    """The geometric mean of n paired ratios with the interval of its logarithm; p tests `claimed`.

    `mean`, `low` and `high` are ratios, `sd` is of the natural logarithms. Raises Refusal as `paired`
    does, and for ratios that are not positive.
    """
    r = np.asarray(ratios, dtype=np.float64).ravel()
    if not ((r > 0) & np.isfinite(r)).all():
        raise Refusal(f"the ratios are {r.tolist()}; they should be positive and finite.")
    at = paired(np.log(r / claimed), confidence)
    mean, low, high = (claimed * math.exp(v) for v in (at.mean, at.low, at.high))
    return replace(at, mean=mean, low=low, high=high)


def holm(p: Mapping[str, float]) -> dict[str, float]:
    """Adjusted p values after Holm (1979), in the order given: at most 1, and monotone in p."""
    adjusted, largest = {}, 0.0
    for name, factor in holm_factors(p).items():
        largest = max(largest, min(1.0, factor * p[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p}


def holm_factors(p: Mapping[str, float]) -> dict[str, int]:
    """What Holm's correction multiplies each p value by, the smallest first: their number, and so on to 1."""
    order = sorted(p, key=lambda name: p[name])
    return {name: len(order) - place for place, name in enumerate(order)}


def figures(
    table: pd.DataFrame, selection: str, ratio: float, model: str, point: str, metric: str
) -> "pd.Series[float]":
    """The figures of one arm of the tidy table (`results.tidy`) by seed; empty where there is no cell.

    For the selection full the ratio is not looked at.
    """
    column = {name: table[name].to_numpy() for name in ("selection", "ratio", "model", "point")}
    here = (column["selection"] == selection) & (column["model"] == model) & (column["point"] == point)
    if selection != FULL:
        here &= column["ratio"] == ratio
    return pd.Series(table[metric].to_numpy()[here], index=table["seed"].to_numpy()[here]).sort_index()


def differences(
    table: pd.DataFrame, arm: str, against: str, ratio: float, model: str, point: str, metric: str
) -> dict[int, float]:
    """Figure of `arm` less figure of `against`, by seed.

    Raises Refusal where a side has no cells or where the seeds of both sides are not the same.
    """
    sides = {name: figures(table, name, ratio, model, point, metric) for name in (arm, against)}
    where = f"at ratio {ratio} for model {model} at {point}"
    for name, values in sides.items():
        if values.empty:
            raise Refusal(f"the table has no cell of {name} {where}, so it cannot be compared.")
        if not values.index.is_unique:
            raise Refusal(f"the table has two figures of {name} {where} for one seed; it should have one.")
    ours, theirs = sides[arm], sides[against]
    if list(ours.index) != list(theirs.index):
        raise Refusal(
            f"{arm} has the seeds {list(ours.index)} and {against} {list(theirs.index)} {where}; "
            "paired arms should have the same."
        )
    return {int(seed): float(ours[seed] - theirs[seed]) for seed in ours.index}


def contrast(
    table: pd.DataFrame,
    settings: ContrastSettings,
    model: str,
    confidence: float,
    name: str = "",
    primary: bool = False,
) -> Contrast:
    """One contrast of the tidy table. `model` stands in where the settings name none; they name a ratio.

    Raises Refusal where a side has no cells, where the seeds do not match, or where there is one seed.
    """
    model, ratio = settings.model or model, settings.ratio
    assert ratio is not None, "see ContrastSettings.of"
    found = differences(table, settings.arm, settings.against, ratio, model, settings.point, settings.metric)
    return Contrast(
        name=name,
        arm=settings.arm,
        against=settings.against,
        ratio=ratio,
        model=model,
        point=settings.point,
        metric=settings.metric,
        primary=primary,
        differences=found,
        interval=paired(list(found.values()), confidence),
        better=better(settings.metric),
        p_holm=None,
    )


def contrasts(
    table: pd.DataFrame,
    blocks: Mapping[str, ContrastSettings],
    settings: StatisticsSettings,
    main: str,
) -> list[Contrast]:
    """The primary contrast, then the secondary ones with Holm's correction over their p_t.

    Holm acts on the t-test because the sign-flip p of a handful of seeds cannot become small. Empty
    where no primary contrast is named. `main` is the model that stands in for null. Secondary contrasts in
    a metric that their model's cells do not have are left out, and Holm does not count them.

    Raises Refusal as `contrast` does, and where the cells do not have the primary contrast's metric.
    """
    if settings.primary is None:
        return []

    def metrics(name: str) -> tuple[str, ...]:
        return measured(of_model(table, blocks[name].model or main))

    if blocks[settings.primary].metric not in (known := metrics(settings.primary)):
        raise Refusal(
            f"contrasts.{settings.primary}.metric is {blocks[settings.primary].metric!r}, which these models "
            f"do not have; statistics.primary should name a contrast in one of {', '.join(known)}."
        )
    first = contrast(
        table, blocks[settings.primary], main, settings.confidence, settings.primary, primary=True
    )
    others = [
        contrast(table, blocks[name], main, settings.confidence, name)
        for name in settings.secondary
        if blocks[name].metric in metrics(name)
    ]
    adjusted = holm({c.name: c.interval.p_t for c in others})
    return [first, *(replace(c, p_holm=adjusted[c.name]) for c in others)]
