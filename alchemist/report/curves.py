"""Figures against images seen: of the trained cells, and of the raters while they were trained."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name, shown
from alchemist.report.chart import Chart, among, colours_of
from alchemist.report.elements import add, arm_colours, curve_of
from alchemist.report.material import Material

DRAWN = ("fd", "fd_coded", "clip", "nll")  # as far as the models have them
HEADLINE = "headline"  # the chart of the opening: FD of the main model


def curves(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """Figures against images, of the selections of the grid; those of the ablation stand in the tables.

    `charts` holds that of the opening already.
    """
    study = material.study
    drawn = {(study.grid.main, "fd"): charts[HEADLINE]}
    panels = [
        add(
            charts,
            f"curve-{model}-{metric}",
            drawn.get((model, metric)) or curve_chart(material, model, metric),
        )
        for model in study.models()
        for metric in DRAWN
        if metric in material.metrics_of(model)
    ]
    return {"panels": panels, "ablation": bool(study.grid.ablation.selections)}


def curve_chart(material: Material, model: str, metric: str) -> Chart:
    """A metric of a model against the images that it has seen, a line an arm of the grid."""
    study, names = material.study, material.names
    arms = [
        (name, ratio)
        for name, ratio in study.measured(model)
        if name == FULL or (name in study.grid.selections and ratio in study.grid.ratios)
    ]
    scale, _ = shown(metric, names)
    rows = pd.concat([curve_of(material, model, *arm, metric) for arm in arms], ignore_index=True)
    rows[["mean", "low", "high"]] *= scale
    name = metric_name(metric, names)
    title = name + (f", model {model}" if len(study.models()) > 1 else "")
    label = name.split(",")[0]
    return Chart("lines", title, rows, "images", "images seen", label, arm_colours(material, rows))


RATING_PANELS = {
    "validation_loss": "Proxy's loss on meta-validation pairs",
    "train_loss": "Proxy's loss on pool pairs",
    "effective_sample_share": "Effective sample size of the weights, share of the batch",
    "weight_loss_correlation": "Correlation of weight and loss in the batch",
    "gate": "Gate of the group head, or a group's largest share",
}
LOSSES = ("validation_loss", "train_loss")  # panels in the unit of the models' loss


def rater_training(material: Material, charts: dict[str, Chart]) -> dict[str, Any] | None:
    """What the raters of the first seed logged while they were trained; None where none is trained."""
    seed = material.study.grid.seeds[0]
    logs = {rater: by_seed[seed]["log"] for rater, by_seed in material.bills.logs.items()}
    logged = {rater: thinned(log) for rater, log in logs.items() if log}
    colours = colours_of(list(logged))
    panels = []
    grid = material.study.grid
    by = {rater: str(grid.rated_by(rater)) for rater in logged}
    families = list(dict.fromkeys(by.values()))
    # Losses of two families have two units, so that each has a panel of its own.
    wanted = [(q, [f]) for q in LOSSES for f in families]
    wanted += [(quantity, families) for quantity in RATING_PANELS if quantity not in LOSSES]
    for quantity, of in wanted:
        rows = []
        for rater, log in logged.items():
            # A plainly trained proxy logs its loss on the pool alone, under another name.
            key = "loss" if quantity == "train_loss" and "loss" in log[0] else quantity
            if key in log[0] and by[rater] in of:
                rows += [{"selection": rater, "images": row["images"], "mean": row[key]} for row in log]
        if rows:
            title, name = RATING_PANELS[quantity], f"rating-{quantity}"
            if quantity in LOSSES:
                title += material.loss_unit(of[0])
                if len(families) > 1:
                    title, name = f"{title}, {of[0]}", f"{name}-{of[0]}"
            drawn = pd.DataFrame(rows)
            here = among(colours, drawn["selection"])
            chart = Chart("trace", title, drawn, "images", "images of the pool seen", "", here)
            panels.append(add(charts, name, chart))
    return {"panels": panels, "seed": seed} if panels else None


def thinned(log: Sequence[Mapping[str, float]], most: int = 400) -> list[Mapping[str, float]]:
    """At most `most` rows of a log, evenly spaced, the last one among them."""
    step = -(-len(log) // most) if log else 1
    return list(log[::-1][::step][::-1])
