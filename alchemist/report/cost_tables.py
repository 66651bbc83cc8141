"""The page's section on cost: what arms, raters, stages and cells took, and when a rating has paid."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup

from alchemist.analysis.cost import Spent, costs, mean, rating_cost
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name, of_model, shown
from alchemist.analysis.reach import GOALS, TimeTo, times_to
from alchemist.analysis.speedup import BreakEven, speedup
from alchemist.analysis.statistics import Interval
from alchemist.analysis.words import DASH, POINTS, TIMES, number
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Material
from alchemist.report.words import interval_text

TIMED = ("fd", "nll")  # as far as the models have them


def cost_tables(material: Material) -> dict[str, Any]:
    """Costs of arms, raters, stages and cells, times to a figure, and when a rating has paid."""
    study, bills = material.study, material.bills
    raters, cells = [], []
    for rater, logs in bills.logs.items():
        spent = [rating_cost(study.raters[rater].kind, facts) for facts in logs.values()]
        train, score = ([pair[i] for pair in spent] for i in (0, 1))
        both = [a + b for a, b in spent]
        pairs = number(next(iter(logs.values()))["pairs"])
        peak = max((facts.get("peak_bytes") or 0 for facts in logs.values()), default=0)
        raters.append([rater, pairs, *(_spent(mean(of)) for of in (train, score, both)), _gib(peak)])
    for cell in study.cells():
        run = material.scores[cell.name]
        images = number(run["checkpoints"][-1]["images"])
        training = [number(run["train_seconds"], 1), _tera(run["train_flops"])]
        peaks = [_gib(run["peaks"][verb]) for verb in ("train", "evaluate")]
        cells.append([cell.name, images, *training, peaks[0], number(run["evaluate_seconds"], 1), peaks[1]])
    stages = [
        [name, number(facts["seconds"], 1), _tera(facts.get("flops")), _gib(facts.get("peak_bytes"))]
        for name, facts in bills.times.items()
    ]
    timed = [metric for metric in TIMED if metric in material.metrics_of(study.grid.main)]
    return {
        "arms": [{"title": words, "table": _arm_costs(material, point)} for point, words in POINTS.items()],
        "times": _times(material, "fd"),
        "times_nll": _times(material, "nll") if "nll" in material.metrics else [],
        "speedups": [part for metric in timed for part in _speedups(material, metric)],
        "pretrained": list(material.pretrained),
        "raters": Table(
            ["rater", "pairs rated", "training", "scoring the pool", "together", "memory"], raters
        ),
        "stages": Table(["stage", "seconds", "TFLOP", "memory"], stages),
        "cells": Table(
            ["cell", "images", "training, s", "training, TFLOP", "memory", "evaluation, s", "memory"], cells
        ),
    }


def _arm_costs(material: Material, point: str) -> Table:
    """Seconds of every arm with TFLOP in small, and its share of the full data's training."""
    found = costs(material.study, material.bills, point)
    whole = {c.model: c.training.seconds for c in found if c.selection == FULL}
    rows = []
    for c in found:
        parts = (c.encode, c.scorer, c.rating_train, c.rating_score, c.training, c.total)
        shares = [DASH, DASH]
        if c.model in whole:
            shares = [number(100 * v / whole[c.model], 1) for v in (c.training.seconds, c.total.seconds)]
        rows.append([arm_name(c.selection, c.ratio), c.model, *map(_spent, parts), *shares])
    head = ["encoding", "scorer", "rater's training", "scoring the pool", "training", "rating and training"]
    shares = ["% of full, without rating", "% of full, with rating"]
    return Table(["subset", "model", *head, *shares], rows, left=2)


def _times(material: Material, metric: str) -> list[dict[str, Any]]:
    """Until the final figure of the random subset and of the full data."""
    study, names = material.study, material.names
    out = []
    for goal in (material.roles.random, FULL):
        if goal is None:
            continue
        found = [
            t
            for model in study.grid.whole()
            if metric in material.metrics_of(model)
            for t in times_to(study, material.table, material.bills, model, metric, goal)
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


def _speedups(material: Material, metric: str) -> list[dict[str, Any]]:
    """How much earlier every arm has the random subset's final figure, or its best, and when it has paid."""
    study, names = material.study, material.names
    random = material.roles.random
    model, rows = study.grid.main, list[list[str]]()
    if random is None or of_model(material.table, model)[metric].isna().any():
        return []
    sized = {ratio for name, ratio in study.arms() if name == random}
    for name, ratio in study.arms():
        if name == random or ratio not in sized or study.reads_truth(name):
            continue
        for goal, word in GOALS.items():
            s = speedup(
                study, material.table, material.bills, name, random, ratio, model, metric,
                material.confidence, goal=goal,
            )  # fmt: skip
            kinds = list(dict.fromkeys(s.bounds.values()))
            factors = [s.images, s.seconds, s.seconds_with_rating, s.flops, s.flops_with_rating]
            counted = all(run.rating.flops is not None for run in (*s.ours, *s.theirs))
            paid = [_paid(s.break_even_seconds), _paid(s.break_even_flops) if counted else DASH]
            rows.append([arm_name(name, ratio), word, ", ".join(kinds), *map(_factor, factors), *paid])
    head = [
        f"{what}, {TIMES}"
        for what in ("images", "seconds", "seconds with rating", "FLOPs", "FLOPs with rating")
    ]
    paid = ["runs until paid, seconds", "runs until paid, FLOPs"]
    groups = range(len(GOALS), len(rows), len(GOALS))
    table = Table(["subset", "until its", "read as", *head, *paid], rows, left=3, groups=groups)
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


def _gib(peak: float | None) -> str:
    """The most memory that was held; a dash where nobody looked."""
    return f"{number(peak / 2**30, 1)} GiB" if peak else DASH


def _tera(flops: float | None) -> str:
    return number(None if flops is None else flops / 1e12, 2)
