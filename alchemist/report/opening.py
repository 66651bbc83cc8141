"""The page's first screen: the verdict on the primary contrast, the run at a glance, the chart of it all."""

from typing import Any

from alchemist.analysis.cost import rating_cost
from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.paper import MODEL, PARAMETERS
from alchemist.analysis.statistics import Contrast
from alchemist.analysis.words import ALL_POINTS, capital, number, several
from alchemist.core.settings.rater import seeded
from alchemist.report.chart import Chart
from alchemist.report.curves import HEADLINE, curve_chart
from alchemist.report.elements import add
from alchemist.report.material import Material
from alchemist.report.words import interval_text, share_text

TOY = 0.1  # of the paper's parameters; what is said of smaller networks alone is called a toy


def opening(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """Verdict in a word and a sentence, rows at a glance, and the name of the headline chart."""
    word, sentence = verdict(material)
    return {
        "word": word,
        "sentence": sentence,
        "toy": toy(material),
        "meaningless": material.meaningless,
        "glance": glance(material, word),
        "chart": add(charts, HEADLINE, curve_chart(material, material.study.grid.main, "fd")),
    }


def verdict(material: Material) -> tuple[str, str]:
    """What became of the primary contrast; `not tested` where there is none, or one seed."""
    if material.meaningless:
        return "not meaningful", material.meaningless
    seeds = len(material.study.grid.seeds)
    if seeds == 1:
        return "not tested", "There is one seed a cell, so no difference has an interval."
    primary = material.primary
    if primary is None:
        return "not tested", "No contrast was named before the run (statistics.primary is null)."
    if primary.metric == "clip" and material.silent:
        return "not tested", material.silent
    model = f", model {primary.model}," if len(material.study.models()) > 1 else ""
    arm = f"{primary.arm} at {share_text(primary.ratio)}{model}"
    scale, digits = shown(primary.metric, material.names)
    name = metric_name(primary.metric, material.names)
    figures = (
        f"{name} {interval_text(primary.interval, digits, True, scale)} at {ALL_POINTS[primary.point]}, "
        f"{several(primary.interval.n, 'seed')}"
    )
    if primary.favours is None:
        return "inconclusive", f"{arm} and {primary.against} are not told apart: {figures}."
    side = "better" if primary.favours == primary.arm else "worse"
    word = "verified" if side == "better" else "falsified"
    return word, f"{arm} is {side} than {primary.against}: {figures}."


def toy(material: Material) -> str:
    """The sentence that the networks are too small to speak of the paper's; empty where they are not."""
    largest = max(material.parameters.values())
    if largest >= TOY * PARAMETERS:
        return ""
    return (
        f"Networks of {number(largest / 1e6, 2)} M parameters at most, where the paper's {MODEL} has "
        f"{number(PARAMETERS / 1e6)} M: what holds here need not hold there."
    )


def glance(material: Material, outcome: str) -> list[tuple[str, str]]:
    """Scope, pool, models, seeds, hardware, time, cost and outcome of the run."""
    study, grid = material.study, material.study.grid
    primary = material.primary
    ratios = " and ".join(map(share_text, sorted(grid.ratios, reverse=True)))
    usable, side = int((material.index["status"] == "ok").sum()), material.pool_card["resolution"]
    models = ", ".join(f"{model} ({number(n / 1e6, 2)} M)" for model, n in material.parameters.items())
    scores = material.scores.values()
    hardware = sorted({str(score["hardware"]) for score in scores if "hardware" in score})
    seconds, tflop, whole = spent(material)
    counted = "rating and training" if whole else "training, and of ratings as far as they were counted"
    asked = [] if primary is None else [("primary contrast", _asked(primary))]
    return [
        ("scope", f"{several(len(grid.selections), 'selection')} of {ratios}, {len(study.cells())} cells"),
        ("pool", f"{material.params['pool']}, {number(usable)} pairs of {side} px"),
        ("models", models),
        ("seeds", ", ".join(map(str, grid.seeds))),
        ("scale", str(material.params["scale"])),
        *([("hardware", "; ".join(hardware))] if hardware else []),
        ("time", f"{_long(seconds)} of stages, ratings and cells, one after another"),
        *([("cost", f"{number(tflop, 1)} TFLOP of {counted}")] if tflop is not None else []),
        *asked,
        (
            "outcome",
            capital(outcome) + (", at toy scale" if toy(material) and not material.meaningless else ""),
        ),
    ]


def _asked(contrast: Contrast) -> str:
    return f"{contrast.arm} before {contrast.against}, {share_text(contrast.ratio)}, model {contrast.model}"


def spent(material: Material) -> tuple[float, float | None, bool]:
    """Seconds of stages that have a clock, ratings and cells; TFLOP of ratings, their scorer and training,
    None where training was not counted; and whether every rating was counted."""
    bills, raters = material.bills, material.study.raters
    logs = [
        (raters[rater].kind, facts)
        for rater, by_seed in bills.logs.items()
        for facts in list(by_seed.values())[: None if seeded(raters[rater]) else 1]
    ]
    ratings = [part for kind, facts in logs for part in rating_cost(kind, facts)]
    scores = material.scores.values()
    seconds = sum(part.seconds for part in ratings)
    seconds += sum(score["train_seconds"] + score["evaluate_seconds"] for score in scores)
    seconds += sum(float(facts.get("seconds", 0.0)) for facts in bills.times.values())
    counted = [score.get("train_flops") for score in scores]
    if any(flops is None for flops in counted):
        return seconds, None, False
    rated = [part.flops for part in ratings]
    if any(kind == "clip_score" for kind, _ in logs):
        rated.append(bills.times["scorer"].get("flops"))
    total = sum(float(flops) for flops in [*counted, *rated] if flops is not None)
    return seconds, total / 1e12, all(flops is not None for flops in rated)


def _long(seconds: float) -> str:
    """A time in the unit in which a person would say it."""
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600, 1)} h"
