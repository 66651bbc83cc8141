"""Which selection at which ratio to take, by a rule that is fixed: docs/pilot.md has it in words.

The noise is that of a randomised block design: figures of arms x seeds less the means of both, whose variance
has (arms - 1)(seeds - 1) degrees of freedom. With two arms this is the paired t-interval; with eight arms and
two seeds it has 7 degrees of freedom in place of 1. It takes the noise of all arms as equal.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from alchemist.analysis.cost import NOTHING, Bills, Spent, costs
from alchemist.analysis.grid import FULL, Study
from alchemist.analysis.metrics import better, measured, of_model
from alchemist.analysis.roles import Roles

POINT = "equal_images"  # equal work: a smaller subset has had as many updates
FIGURES = ("fd", "nll")  # both decide, as far as the models have them; the first names the leader
Arm = tuple[str, float]  # selection, ratio
Word = Literal["better", "worse", "both", "open"]


@dataclass(frozen=True)
class Gap:
    """Figure of an arm less that of another: mean over seeds, and half the width of its interval."""

    mean: float
    half: float

    @property
    def low(self) -> float:
        """The lower end."""
        return self.mean - self.half

    @property
    def high(self) -> float:
        """The upper end."""
        return self.mean + self.half


@dataclass(frozen=True)
class Beside:
    """An arm beside another, in every figure that decides."""

    arm: Arm
    against: Arm
    gaps: dict[str, Gap]
    rating: Spent  # what the arm's rating cost
    training: Spent  # what one training run cost

    @property
    def word(self) -> Word:
        """better: in some figure, worse in none; both: better in one and worse in another; open: neither."""
        sides = {
            better(name) * (1 if gap.low > 0 else -1 if gap.high < 0 else 0)
            for name, gap in self.gaps.items()
        }
        if {1, -1} <= sides:
            return "both"
        return "better" if 1 in sides else "worse" if -1 in sides else "open"


@dataclass(frozen=True)
class Advice:
    """What the cells of one model say."""

    model: str
    seeds: int
    images: int  # that every arm has seen
    arms: tuple[Beside, ...]  # each arm beside the random subset of its size; see `advise`
    take: Beside | None  # the arm to take, beside what it was compared with; None where `why` says so
    level: tuple[Arm, ...]  # cannot be told apart from the leader, the cheapest first: take is the first
    resolves: dict[str, float]  # half widths: smaller differences this run cannot tell from none
    why: str = ""  # why there is no advice


class Blocks:
    """Figures of arms x seeds in one metric, and their common noise."""

    def __init__(self, figures: pd.DataFrame, confidence: float, compared: int) -> None:
        """`figures`: a row an arm, a column a seed. `compared`: intervals that hold together (Bonferroni)."""
        self.means = figures.mean(axis=1)
        values = figures.to_numpy(dtype=np.float64)
        arms, seeds = values.shape
        rest = (
            values - values.mean(axis=1, keepdims=True) - values.mean(axis=0, keepdims=True) + values.mean()
        )
        free = (arms - 1) * (seeds - 1)
        sd = math.sqrt(float((rest**2).sum()) / free)
        t = float(stats.t.ppf(1 - (1 - confidence) / 2 / max(1, compared), free))
        self.half = t * sd * math.sqrt(2 / seeds)

    def gap(self, arm: Arm, against: Arm) -> Gap:
        """Two arms' difference with its interval."""
        return Gap(float(self.means[arm] - self.means[against]), self.half)


def advise(study: Study, table: pd.DataFrame, bills: Bills, confidence: float) -> Advice:
    """The advice of the main model's cells at equal images.

    Each arm stands beside the random subset of its ratio; one without such a subset beside the full data, and
    the full data beside the random subset of the largest ratio. Arms that read planted truth are left out. To
    be taken are open: the full data, the random subsets, and the arms that are better than theirs. Of
    these the one of lowest FD leads; what is not worse than it is level; of the level ones the
    cheapest rating is taken, then the one that keeps most.
    """
    model = study.grid.main
    here = of_model(table, model)
    here = here[here["point"] == POINT]
    names = [name for name in FIGURES if name in measured(here)]
    arms = [arm for arm in study.measured(model) if not study.reads_truth(arm[0])]
    by_arm = {name: wide(here, arms, name) for name in names}
    seeds, images = len(study.grid.seeds), int(here["images"].max())
    random = Roles.of(study).random
    at_random = [arm for arm in arms if arm[0] == random]
    full: Arm | None = (FULL, 1.0) if (FULL, 1.0) in arms else None

    def nothing(why: str) -> Advice:
        return Advice(model, seeds, images, (), None, (), {}, why)

    if not at_random:
        return nothing("The grid has no random subset, so nothing says what a rating is worth.")
    if seeds < 2:
        return nothing("There is one seed, so no difference has an interval: name two or more in grid.seeds.")
    if len(arms) < 2:
        return nothing("There is one arm, so there is nothing to compare it with.")
    if any(wide.isna().any(axis=None) for wide in by_arm.values()):
        return nothing("Some cell lacks a figure, so the arms cannot be compared.")
    intervals = (len(arms) - 1) * len(by_arm)
    blocks = {name: Blocks(wide, confidence, intervals) for name, wide in by_arm.items()}
    spent = {(c.selection, c.ratio): c for c in costs(study, bills, POINT) if c.model == model}

    def beside(arm: Arm, against: Arm) -> Beside:
        gaps = {name: block.gap(arm, against) for name, block in blocks.items()}
        return Beside(arm, against, gaps, spent[arm].rating or NOTHING, spent[arm].training)

    compared = []
    for arm in arms:
        if arm in at_random:
            continue
        fallback = full if arm != full and full is not None else at_random[0]
        compared.append(beside(arm, next((r for r in at_random if r[1] == arm[1]), fallback)))
    open_to_all = [*([full] if full else []), *at_random]
    candidates = open_to_all + [c.arm for c in compared if c.word == "better" and c.arm not in open_to_all]
    leader = min(candidates, key=lambda arm: float(blocks[names[0]].means[arm]))
    level = [arm for arm in candidates if arm == leader or beside(arm, leader).word != "worse"]
    level.sort(key=lambda arm: (_price(spent[arm].rating), -arm[1]))
    taken = next((c for c in compared if c.arm == level[0]), None)
    take = taken or beside(level[0], full or at_random[0])
    return Advice(
        model, seeds, images, tuple(compared), take, tuple(level), {n: b.half for n, b in blocks.items()}
    )


def wide(rows: pd.DataFrame, arms: Sequence[Arm], name: str) -> pd.DataFrame:
    """Figures in one metric, a row an arm and a column a seed; NaN where a cell lacks it."""
    found = rows.pivot_table(index=["selection", "ratio"], columns="seed", values=name, dropna=False)
    return found.reindex(pd.MultiIndex.from_tuples(arms))


def _price(rating: Spent | None) -> tuple[float, float]:
    """Operations of a rating, then seconds; what has none, as random, is free."""
    if rating is None:
        return 0.0, 0.0
    return math.inf if rating.flops is None else rating.flops, rating.seconds


def as_json(advice: Advice, sentences: Sequence[str]) -> dict[str, Any]:
    """What advice.json holds; intervals hold for all arms and figures together."""

    def told(one: Beside) -> dict[str, Any]:
        gaps = {n: {"mean": g.mean, "low": g.low, "high": g.high} for n, g in one.gaps.items()}
        return {
            "arm": list(one.arm), "against": list(one.against), "difference": gaps, "word": one.word,
            "rating_flops": one.rating.flops, "training_flops": one.training.flops,
        }  # fmt: skip

    return {
        "sentences": list(sentences),
        "model": advice.model,
        "point": POINT,
        "seeds": advice.seeds,
        "take": None if advice.take is None else list(advice.take.arm),
        "level": [list(arm) for arm in advice.level],
        "resolves": advice.resolves,
        "arms": [told(one) for one in advice.arms],
    }
