"""The page's first screen: the verdict on the primary contrast, the run at a glance, the chart of it all."""

from collections.abc import Mapping
from typing import Any

from alchemist.analysis.cost import rating_cost
from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.paper import MODEL, PARAMETERS
from alchemist.analysis.statistics import Contrast
from alchemist.analysis.words import ALL_POINTS, capital, number, several
from alchemist.report.chart import Chart
from alchemist.report.curves import curve_chart
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
        "glance": glance(material, sentence),
        "chart": add(charts, "headline", curve_chart(material, material.study.grid.main, "fd")),
    }


def verdict(material: Material) -> tuple[str, str]:
    """What became of the primary contrast; `not tested` where there is none, or one seed."""
    seeds = len(material.study.grid.seeds)
    if seeds == 1:
        return "not tested", "There is one seed a cell, so no difference has an interval."
    primary = next((one for one in material.decided if one.primary), None)
    if primary is None:
        return "not tested", "No contrast was named before the run (statistics.primary is null)."
    arm = f"{primary.arm} at {share_text(primary.ratio)}"
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
    primary = next((one for one in material.decided if one.primary), None)
    ratios = " and ".join(map(share_text, sorted(grid.ratios, reverse=True)))
    usable, side = int((material.index["status"] == "ok").sum()), material.pool_card["resolution"]
    models = ", ".join(f"{model} ({number(n / 1e6, 2)} M)" for model, n in material.parameters.items())
    scores = material.scores.values()
    hardware = sorted({str(score["hardware"]) for score in scores if "hardware" in score})
    seconds, tflop = spent(material)
    asked = [] if primary is None else [("primary contrast", _asked(primary))]
    return [
        ("scope", f"{several(len(grid.selections), 'selection')} of {ratios}, {len(study.cells())} cells"),
        ("pool", f"{material.params['pool']}, {number(usable)} pairs of {side} px"),
        ("models", models),
        ("seeds", ", ".join(map(str, grid.seeds))),
        ("scale", str(material.params["scale"])),
        *([("hardware", "; ".join(hardware))] if hardware else []),
        ("time", f"{_long(seconds)} of one device"),
        *([("cost", f"{number(tflop, 1)} TFLOP of rating and training")] if tflop is not None else []),
        *asked,
        ("outcome", capital(outcome)),
    ]


def _asked(contrast: Contrast) -> str:
    return f"{contrast.arm} before {contrast.against}, {share_text(contrast.ratio)}, model {contrast.model}"


def spent(material: Material) -> tuple[float, float | None]:
    """Seconds of all stages, ratings and cells; TFLOP of ratings and training, None where nobody counted."""
    logs = [facts for by_seed in material.bills.logs.values() for facts in _once(by_seed)]
    ratings = [part for facts in logs for part in rating_cost(facts)]
    scores = material.scores.values()
    seconds = sum(part.seconds for part in ratings)
    seconds += sum(score["train_seconds"] + score["evaluate_seconds"] for score in scores)
    seconds += sum(float(facts.get("seconds", 0.0)) for facts in material.bills.times.values())
    counted = [score.get("train_flops") for score in scores]
    if any(flops is None for flops in counted):
        return seconds, None
    rated = sum(part.flops for part in ratings if part.flops is not None)
    return seconds, (sum(float(flops) for flops in counted if flops is not None) + rated) / 1e12


def _once(by_seed: Mapping[int, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The facts of a rater's tables, each once: one without seeds stands under every seed."""
    found: list[Mapping[str, Any]] = []
    for facts in by_seed.values():
        if facts not in found:
            found.append(facts)
    return found


def _long(seconds: float) -> str:
    """A time in the unit in which a person would say it."""
    if seconds < 120:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 7200 else f"{number(seconds / 3600, 1)} h"
