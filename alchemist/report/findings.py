"""The page's sections on what the figures say: verdicts, contrasts, agreement, cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from alchemist.analysis import agreement, cost
from alchemist.analysis.cost import BreakEven, Spent, TimeTo
from alchemist.analysis.results import FULL, Stat
from alchemist.analysis.statistics import Interval
from alchemist.report.material import Material
from alchemist.report.parts import KINDS, Table, arm_name
from alchemist.report.words import (
    DASH,
    POINT_WORDS,
    TIMES,
    contrast_text,
    interval_text,
    metric_name,
    number,
    p_text,
    share_text,
    shown,
    shown_unit,
    told,
    unit_name,
)
from alchemist.settings.rater import seeded

# ---------------------------------------------------------------------- verdicts and contrasts


def verdict_tables(held: Material) -> dict[str, Table]:
    """The claims with their verdicts, and every comparison that they rest on."""
    names = held.scores[held.study.cells()[0].name]["names"]
    claims: list[list[str]] = []
    parts: list[list[str]] = []
    groups: list[int] = []
    for v in held.verdicts:
        said = Markup('{}<small class="why">{}</small>').format(v.sentence, v.why)
        claims.append([v.claim, Markup("<b>{}</b>").format(v.verdict), said])
        groups.append(len(parts))
        for part in v.parts:
            scale, digits, sign = shown_unit(part.unit, names)
            what = part.what if part.decides else Markup("{}<small>stands beside</small>").format(part.what)
            figures = [
                interval_text(part.interval, digits, sign, scale),
                number(scale * part.claimed, digits),
            ]
            tests = [p_text(part.interval.p_t), p_text(part.interval.p_flip)]
            where = unit_name(part.unit, names), part.verdict
            parts.append([v.claim, what, *where, number(part.interval.n), *figures, *tests])
    head = [
        "claim",
        "comparison",
        "in",
        "verdict",
        "n",
        "mean and interval",
        "to exclude",
        "p, t-test",
        "p, sign flip",
    ]
    return {
        "claims": Table(
            ["claim", "verdict", "what the paper claims, and what was found here"], claims, left=3
        ),
        "parts": Table(head, parts, left=4, groups=groups[1:]),
    }


def contrast_table(held: Material) -> Table | None:
    """The named contrasts, the primary one first; None where none was asked for."""
    names = held.scores[held.study.cells()[0].name]["names"]
    rows = []
    for c in held.contrasts:
        scale, digits = shown(c.metric, names)
        each = ", ".join(number(scale * d, digits, True) for d in c.differences.values())
        label = Markup("{}<small>{}</small>").format(c.name, "primary" if c.primary else "secondary")
        what = contrast_text(c, names), c.favours or "neither"
        tests = [p_text(p) for p in (c.interval.p_t, c.p_holm, c.interval.p_flip)]
        mean = interval_text(c.interval, digits, True, scale)
        rows.append([label, *what, number(c.interval.n), mean, *tests, each])
    head = ["contrast", "difference", "in favour of", "n", "mean and interval"]
    tests = ["p, t-test", "p, Holm", "p, sign flip", "each seed"]
    return Table([*head, *tests], rows, left=3, groups=[1]) if rows else None


# ------------------------------------------------------------------------------------- agreement


def agreement_tables(held: Material) -> dict[str, Any]:
    """Rank correlations of ratings, overlap of subsets, AUC of planted kinds."""
    study = held.study
    found = agreement.rank_correlations(held.ratings)
    cells = {pair: _spread(c.mean, c.low, c.high, c.n, 3) for c in found for pair in _both(c.first, c.second)}
    for rater, settings in study.raters.items():
        if not seeded(settings):
            cells[rater, rater] = DASH  # one table for all seeds agrees with itself by construction
    usable = int((held.index["status"] == "ok").sum())
    every = agreement.overlaps(held.subsets, usable)
    overlaps = []
    for ratio in sorted({arm[1] for arm in study.arms()}, reverse=True):
        pairs = [o for o in every if o.ratio == ratio]
        if pairs:
            jaccard = {
                pair: _spread(o.overlap.jaccard, o.low, o.high, o.n, 3)
                for o in pairs
                for pair in _both(o.first, o.second)
            }
            arms = list(dict.fromkeys(name for o in pairs for name in (o.first, o.second)))
            chance = number(float(np.mean([o.overlap.chance for o in pairs])), 3)
            overlaps.append({"ratio": share_text(ratio), "chance": chance, "table": _square(arms, jaccard)})
    return {
        "correlation": _square(list(study.raters), cells),
        "overlaps": overlaps,
        "auc": None if held.kinds is None else _auc(held),
    }


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)


def _square(names: Sequence[str], cells: Mapping[tuple[str, str], str]) -> Table:
    """A symmetric table; a pair that was not compared has a dash."""
    rows = [[name, *(cells.get((name, other), DASH) for other in names)] for name in names]
    return Table(["", *names], rows)


def _spread(mean: float, low: float, high: float, n: int, digits: int) -> str:
    """A mean, and in small its range where it is one of several values."""
    if n < 2:
        return number(mean, digits)
    ends = number(low, digits), number(high, digits)
    return Markup("{}<small>{} to {}</small>").format(number(mean, digits), *ends)


def _auc(held: Material) -> Table:
    kinds = held.kinds
    assert kinds is not None
    found = agreement.auc_by_kind(held.ratings, kinds)
    cells = {
        (row["rater"], row["kind"]): told(
            Stat(
                row["mean"],
                None if row["n"] < 2 or not seeded(held.study.raters[row["rater"]]) else row["sd"],
                row["n"],
            ),
            3,
        )
        for row in found.to_dict("records")
    }
    rows = [[rater, *(cells.get((rater, kind), DASH) for kind in KINDS)] for rater in held.study.raters]
    return Table(["rater", *KINDS], rows)


# ----------------------------------------------------------------------------------------- cost


def cost_tables(held: Material) -> dict[str, Any]:
    """Costs of arms, raters, stages and cells, times to a figure, and when a rating has paid."""
    study, bills = held.study, held.bills
    raters, cells = [], []
    for rater, logs in bills.logs.items():
        spent = [cost.rating_cost(facts) for facts in logs.values()]
        train, score = ([pair[i] for pair in spent] for i in (0, 1))
        both = [a + b for a, b in spent]
        pairs = number(next(iter(logs.values()))["pairs"])
        raters.append([rater, pairs, *(_spent(cost.mean(of)) for of in (train, score, both))])
    for cell in study.cells():
        run = held.scores[cell.name]
        images = number(run["checkpoints"][-1]["images"])
        training = [number(run["train_seconds"], 1), _tera(run["train_flops"])]
        cells.append([cell.name, images, *training, number(run["evaluate_seconds"], 1)])
    stages = [
        [name, number(facts["seconds"], 1), _tera(facts.get("flops"))] for name, facts in bills.times.items()
    ]
    return {
        "arms": [{"title": words, "table": _arm_costs(held, point)} for point, words in POINT_WORDS.items()],
        "times": _times(held, "fd"),
        "times_nll": _times(held, "nll"),
        "speedups": [part for metric in ("fd", "nll") for part in _speedups(held, metric)],
        "raters": Table(["rater", "pairs rated", "training", "scoring the pool", "together"], raters),
        "stages": Table(["stage", "seconds", "TFLOP"], stages),
        "cells": Table(["cell", "images", "training, s", "training, TFLOP", "evaluation, s"], cells),
    }


def _arm_costs(held: Material, point: str) -> Table:
    """Seconds of every arm with TFLOP in small, and its share of the full data's training."""
    found = cost.costs(held.study, held.bills, point)
    whole = {c.model: c.training.seconds for c in found if c.selection == FULL}
    rows = []
    for c in found:
        parts = (c.encode, c.scorer, c.rating_train, c.rating_score, c.training, c.total)
        shares = [DASH, DASH]
        if c.model in whole:
            shares = [number(100 * v / whole[c.model], 1) for v in (c.training.seconds, c.total.seconds)]
        rows.append([arm_name(c.selection, c.ratio), c.model, *map(_spent, parts), *shares])
    head = ["tokenizing", "scorer", "rater's training", "scoring the pool", "training", "rating and training"]
    shares = ["% of full, without rating", "% of full, with rating"]
    return Table(["subset", "model", *head, *shares], rows, left=2)


def _times(held: Material, metric: str) -> list[dict[str, Any]]:
    """Until the final figure of the random subset and of the full data."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    out = []
    for goal in (study.baseline, FULL):
        if goal is None:
            continue
        found = [
            t
            for model in study.grid.models
            for t in cost.times_to(study, held.table, held.bills, model, metric, goal)
        ]
        rows = [_time_row(t, metric, names) for t in found]
        head = ["until", "seeds that reach it", "images", "training", "with rating"]
        who = "the full data" if goal == FULL else f"{goal} at the same size"
        title = f"{metric_name(metric, names)} of {who}, as it ends"
        out.append({"title": title, "table": Table(["subset", "model", *head], rows, left=2)})
    return out


def _time_row(t: TimeTo, metric: str, names: Mapping[str, str]) -> list[str]:
    scale, digits = shown(metric, names)
    goal = number(scale * float(np.mean([run.threshold for run in t.runs])), digits)
    images = number(t.images)
    if t.images is not None and any(run.early for run in t.runs):
        images = f"≤ {images}"  # the first checkpoint is that good already
    reached = f"{t.reached} of {len(t.runs)}"
    spent = [_spent(t.training), _spent(t.with_rating)]
    return [arm_name(t.selection, t.ratio), t.model, goal, reached, images, *spent]


def _speedups(held: Material, metric: str) -> list[dict[str, Any]]:
    """How much earlier every arm has the random subset's final figure, and when its rating is paid for."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    if study.baseline is None or held.table[metric].isna().any():
        return []
    model, rows = study.grid.models[0], []
    sized = {ratio for name, ratio in study.arms() if name == study.baseline}
    for name, ratio in study.arms():
        if name == study.baseline or ratio not in sized or study.reads_truth(name):
            continue
        s = cost.speedup(
            study, held.table, held.bills, name, study.baseline, ratio, model, metric, held.confidence
        )
        kinds = list(dict.fromkeys(s.bounds.values()))
        factors = [s.images, s.seconds, s.seconds_with_rating, s.flops, s.flops_with_rating]
        counted = all(run.rating.flops is not None for run in (*s.ours, *s.theirs))
        paid = [_paid(s.break_even_seconds), _paid(s.break_even_flops) if counted else DASH]
        rows.append([arm_name(name, ratio), ", ".join(kinds), *map(_factor, factors), *paid])
    head = [
        f"{what}, {TIMES}"
        for what in ("images", "seconds", "seconds with rating", "FLOPs", "FLOPs with rating")
    ]
    paid = ["runs until paid, seconds", "runs until paid, FLOPs"]
    table = Table(["subset", "read as", *head, *paid], rows, left=2)
    return [{"title": metric_name(metric, names), "table": table}] if rows else []


def _factor(interval: Interval | None) -> str:
    return DASH if interval is None else interval_text(interval, 2, False)


def _paid(runs: BreakEven) -> str:
    """Runs until a rating is paid for; in small from the best to the worst end of the interval."""
    if runs.runs is None:
        return "never"
    if runs.at_best is None and runs.at_worst is None:
        return number(runs.runs)
    ends = ("never" if end is None else number(end) for end in (runs.at_best, runs.at_worst))
    return Markup("{}<small>{} to {}</small>").format(number(runs.runs), *ends)


def _spent(spent: Spent | None) -> str:
    """Seconds, and in small TFLOP where they were counted."""
    if spent is None:
        return DASH
    if spent.tflop is None:
        return f"{number(spent.seconds, 1)} s"
    return Markup("{} s<small>{} TFLOP</small>").format(number(spent.seconds, 1), number(spent.tflop, 2))


def _tera(flops: float | None) -> str:
    return number(None if flops is None else flops / 1e12, 2)
