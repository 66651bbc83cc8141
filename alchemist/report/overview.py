"""Charts of the whole: quality against what is kept and against cost, and the contrasts' intervals."""

from typing import Any

import pandas as pd

from alchemist.analysis.arena import arena
from alchemist.analysis.cost import priced
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name, of_model, shown
from alchemist.analysis.words import ALL_POINTS, POINTS
from alchemist.report.chart import Chart
from alchemist.report.elements import add, arm_colours
from alchemist.report.material import Material
from alchemist.report.words import share_text

DRAWN = ("fd", "nll")  # against what is kept and against cost, as far as the models have them


def overview(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """Names of the charts, by what they show; an empty list where the grid has nothing of it."""
    main = material.study.grid.main
    metrics = [metric for metric in DRAWN if metric in material.metrics_of(main)]
    kept = [(f"kept-{m}", kept_chart(material, m)) for m in metrics if len(material.study.grid.ratios) > 1]
    costs = [(f"cost-{metric}", cost_chart(material, metric)) for metric in metrics]
    return {
        "kept": [add(charts, *one) for one in kept],
        "cost": [add(charts, name, chart) for name, chart in costs if chart is not None],
        "contrasts": [add(charts, f"contrasts-{m}", chart) for m, chart in contrast_charts(material).items()],
    }


def kept_chart(material: Material, metric: str) -> Chart:
    """A metric against the share that is kept, a line a selection and comparison, everything at 100 %."""
    study, main = material.study, material.study.grid.main
    rows = of_model(material.table, main)
    rows = rows[rows["point"].isin(list(POINTS)) & rows["selection"].isin([FULL, *study.grid.selections])]
    scale, _ = shown(metric, material.names)
    found = (
        rows.assign(figure=scale * rows[metric])
        .groupby(["selection", "point", "ratio"], sort=False)["figure"]
        .agg(["mean", "min", "max"])
        .reset_index()
        .rename(columns={"min": "low", "max": "high"})
    )
    found["kept"] = 100 * found.pop("ratio")
    found["keeps"] = [ALL_POINTS[point] for point in found.pop("point")]
    name, colours = metric_name(metric, material.names), arm_colours(material, found)
    return Chart("lines", f"{name} against what is kept", found, "kept", "% of the pool kept", name, colours)


def cost_chart(material: Material, metric: str) -> Chart | None:
    """A metric against TFLOP, with the Pareto front; None where operations of an arm were not counted."""
    study, main = material.study, material.study.grid.main
    table = of_model(priced(study, material.bills, material.table), main)
    table = table[[not study.reads_truth(name) for name in table["selection"]]]
    if table[["rate_tflop", "train_tflop"]].isna().any(axis=None) or table[metric].isna().any():
        return None
    scale, _ = shown(metric, material.names)
    ends = table.groupby(["selection", "ratio", "images"])[metric].agg(["min", "max"]).T.to_dict("list")
    rows = []
    for one in arena(table, metric):
        low, high = ends[one.selection, one.ratio, one.images]
        rows.append(
            {
                "selection": one.selection,
                "keeps": share_text(one.ratio),
                "images": one.images,
                "rating": one.rating,
                "training": one.training,
                "mean": scale * one.figure,
                "low": scale * low,
                "high": scale * high,
                "front": one.front,
                "front_without": one.front_without,
            }
        )
    name, title = metric_name(metric, material.names), "against cost, and its Pareto front"
    along = "TFLOP of training, and of the rating where it is counted in"
    found = pd.DataFrame(rows)
    return Chart("front", f"{name} {title}", found, "cost", along, name, arm_colours(material, found))


def contrast_charts(material: Material) -> dict[str, Chart]:
    """The intervals of the named contrasts by the view that decides, a chart a metric; {} without any."""
    by_metric: dict[str, list[dict[str, Any]]] = {}
    many = len(material.study.models()) > 1
    for c in material.decided:
        scale, _ = shown(c.metric, material.names)
        says = "open" if c.favours is None else "for the first" if c.favours == c.arm else "against it"
        label = f"{c.arm} less {c.against}; {share_text(c.ratio)}, {ALL_POINTS[c.point]}"
        by_metric.setdefault(c.metric, []).append(
            {
                "contrast": label + (f", model {c.model}" if many else ""),
                "mean": scale * c.interval.mean,
                "low": scale * c.interval.low,
                "high": scale * c.interval.high,
                "n": c.interval.n,
                "says": says,
            }
        )
    out = {}
    for metric, rows in by_metric.items():
        name = metric_name(metric, material.names)
        out[metric] = Chart(
            "intervals", f"Named contrasts in {name}", pd.DataFrame(rows), "mean", f"difference in {name}",
            height=40 * len(rows),
        )  # fmt: skip
    return out
