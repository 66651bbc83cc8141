"""Figures against images seen: of the trained cells, and of the raters while they were trained."""

from typing import Any

from markupsafe import Markup

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name
from alchemist.report import figures as draw
from alchemist.report.elements import add_figure, curve_of, legend_of
from alchemist.report.figures import Band, Line
from alchemist.report.material import Material

DRAWN = ("fd", "fd_coded", "clip", "nll")  # as far as the models have them


def curves(material: Material, figures: dict[str, str]) -> dict[str, Any]:
    """Figures against images, of the selections of the grid; those of the ablation stand in the tables."""
    study, names = material.study, material.names
    ratios = sorted(study.grid.ratios, reverse=True)
    looks = {name: draw.look(i) for i, name in enumerate(study.grid.selections)}
    looks[FULL] = (draw.INK, "o")
    panels = []
    for number_of, model in enumerate(study.models()):
        arms = [a for a in study.measured(model) if a[0] == FULL or (a[0] in looks and a[1] in ratios)]
        for metric in [name for name in DRAWN if name in material.metrics_of(model)]:
            drawn: list[Line] = []
            bands: list[Band] = []
            for arm in arms:
                x, mean, low, high = curve_of(material, model, *arm, metric)
                colour, marker = looks[arm[0]]
                dash = draw.dashes(ratios.index(arm[1])) if arm[0] != FULL else ()
                drawn.append((x, mean, colour, marker, dash))
                if len(study.grid.seeds) > 1:
                    bands.append((x, low, high, colour))
            title = metric_name(metric, names) + (f", {model}" if len(study.models()) > 1 else "")
            svg = draw.lines(title, "images seen", drawn, bands)
            panels.append(add_figure(figures, f"curve-{number_of}-{metric}", svg))
    return {
        "panels": panels,
        "legend": legend_of(looks, ratios),
        "ablation": bool(study.grid.ablation.selections),
    }


RATING_PANELS = {
    "validation_loss": "Proxy's loss on meta-validation pairs",
    "train_loss": "Proxy's loss on pool pairs",
    "effective_sample_share": "Effective sample size of the weights, share of the batch",
    "weight_loss_correlation": "Correlation of weight and loss in the batch",
    "gate": "Gate of the group head, or a group's largest share",
}
LOSSES = ("validation_loss", "train_loss")  # panels in the unit of the models' loss


def rater_training(material: Material, figures: dict[str, str]) -> dict[str, Any]:
    """What the raters of the first seed logged while they were trained."""
    seed = material.study.grid.seeds[0]
    logs = {rater: by_seed[seed]["log"] for rater, by_seed in material.bills.logs.items()}
    logged = {rater: draw.thinned(log) for rater, log in logs.items() if log}
    looks = {rater: draw.look(i)[0] for i, rater in enumerate(logged)}
    panels = []
    grid = material.study.grid
    by = {rater: str(grid.rated_by(rater)) for rater in logged}
    families = list(dict.fromkeys(by.values()))
    # Losses of two families have two units, so that each has a panel of its own.
    wanted = [(q, [f]) for q in LOSSES for f in families]
    wanted += [(quantity, families) for quantity in RATING_PANELS if quantity not in LOSSES]
    for quantity, of in wanted:
        drawn: list[draw.Line] = []
        for rater, log in logged.items():
            # A plainly trained proxy logs its loss on the pool alone, under another name.
            key = "loss" if quantity == "train_loss" and "loss" in log[0] else quantity
            if key in log[0] and by[rater] in of:
                values = [row[key] for row in log]
                drawn.append(([row["images"] for row in log], values, looks[rater], None, ()))
        if drawn:
            title, name = RATING_PANELS[quantity], f"rating-{quantity}"
            if quantity in LOSSES:
                title += material.loss_unit(of[0])
                if len(families) > 1:
                    title, name = f"{title}, {of[0]}", f"{name}-{of[0]}"
            svg = draw.lines(title, "images of the pool seen", drawn)
            panels.append(add_figure(figures, name, svg))
    legend = [(Markup(draw.swatch(colour)), rater) for rater, colour in looks.items()]
    return {"panels": panels, "legend": legend, "seed": seed}
