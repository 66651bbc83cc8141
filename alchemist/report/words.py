"""How the page writes its figures: means with their spread, intervals, names of samplers and contrasts."""

from collections.abc import Mapping

from markupsafe import Markup

from alchemist.analysis.advice import Gap
from alchemist.analysis.metrics import is_metric, metric_name, shown
from alchemist.analysis.results import Result, Stat
from alchemist.analysis.statistics import Contrast, Interval
from alchemist.analysis.words import ALL_POINTS, number, percent
from alchemist.pruning import samplers

LOSS = "held-out loss"  # heads a column of `loss_cell`
SAMPLERS = {name: sampler.title for name, sampler in samplers.SAMPLERS.items()}


def told(stat: Stat, digits: int, sign: bool = False, scale: float = 1.0) -> str:
    """A mean, with its standard deviation over seeds where there is more than one seed."""
    text = number(scale * stat.mean, digits, sign)
    return text if stat.sd is None else f"{text} ± {number(scale * stat.sd, digits)}"


def loss_cell(losses: Mapping[str, Stat]) -> Markup:
    """The loss on held-out pairs, and in small how much higher it is than that on the arm's own."""
    held, gap = told(losses["validation_loss"], 3), told(losses["gap"], 3, True)
    return Markup("{}<small>{}</small>").format(held, gap)


def interval_text(interval: Interval | Gap, digits: int, sign: bool = True, scale: float = 1.0) -> str:
    """A mean and in brackets the ends of its interval."""
    mean, low, high = (number(scale * v, digits, sign) for v in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def p_text(p: float | None) -> str:
    """A p value to three digits; a dash where there is none."""
    return "< 0.001" if p is not None and p < 0.0005 else number(p, 3)


def share_text(ratio: float) -> str:
    """A ratio in percent, on one line."""
    return percent(ratio).replace(" ", "\N{NO-BREAK SPACE}")


def contrast_text(contrast: Contrast, names: Mapping[str, str]) -> str:
    """What a contrast compares, in words."""
    return (
        f"{metric_name(contrast.metric, names)} of {contrast.arm} less {contrast.against}, "
        f"{share_text(contrast.ratio)}, model {contrast.model}, {ALL_POINTS[contrast.point]}"
    )


def shown_unit(unit: str, names: Mapping[str, str]) -> tuple[float, int, bool]:
    """Factor, digits and whether a sign is written, of a part's unit: a metric or another quantity."""
    if is_metric(unit):
        return (*shown(unit, names), True)
    others = {"percentile": (1.0, 1, True), "share": (100.0, 1, True), "rank correlation": (1.0, 3, False)}
    return others.get(unit, (1.0, 2, False))


def unit_name(unit: str, names: Mapping[str, str]) -> str:
    """A part's unit on the page."""
    return metric_name(unit, names) if is_metric(unit) else {"share": "%"}.get(unit, unit)


def figure(row: Result, metric: str, names: Mapping[str, str]) -> str:
    """A figure of a result as the page writes it."""
    scale, digits = shown(metric, names)
    return told(row.figures[metric], digits, scale=scale)
