"""The tables of results: every arm of a model at a point, the paper's numbers and the floors beside it."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from alchemist.analysis.grid import FULL, Study
from alchemist.analysis.metrics import metric_name, of_model, shown
from alchemist.analysis.paper import paper_numbers
from alchemist.analysis.results import Result, losses
from alchemist.analysis.words import ALL_POINTS, capital, number
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.words import LOSS, SAMPLERS, loss_cell, share_text, told


def result_tables(material: Material) -> list[dict[str, Any]]:
    """For every model and point: title and table. The paper's numbers stand beside the first model.

    A model's table has the metrics that its cells have, and the floors of its family; of cells whose losses
    were taken also those, and the point `best`.
    """
    study, names = material.study, material.names
    out = []
    for model in study.models():
        metrics = material.metrics_of(model)
        here = of_model(material.table, model)
        sizes = ["selection", "keeps", "pairs", "images", "epochs", *([LOSS] if losses(here) else [])]
        head = [*sizes, *(metric_name(m, names) for m in metrics)]
        below = _floors(material, model, len(sizes))
        quoted = ["paper: FID", "paper: CLIP"] if model == study.grid.main else []
        for point in (name for name in ALL_POINTS if (here["point"] == name).any()):
            found = material.results(model, point)
            rows = [_result_row(row, material, metrics) for row in found] + below
            groups = [i for i, row in enumerate(found) if i and row.ratio != found[i - 1].ratio]
            title = capital(ALL_POINTS[point]) + (f", model {model}" if len(study.models()) > 1 else "")
            if len(material.families) > 1:
                title += f" of the family {study.grid.family_of(model)}"
            width = len(head) + len(quoted)
            cut = [row[:width] for row in rows]
            out.append({"title": title, "table": Table([*head, *quoted], cut, groups=[*groups, len(found)])})
    return out


def _floors(material: Material, model: str, blank: int) -> list[list[str]]:
    """What real images score, as they are and through the codec of the model's family."""
    names, metrics = material.names, material.metrics_of(model)
    floors = material.first_of(material.study.grid.family_of(model))["floors"]
    real = {metric: floors.get(full) for metric, full in names.items()}
    rebuilt = {
        "fd": floors.get("fd_reconstruction"),
        "fd_coded": floors.get(f"{names['fd']}_coded"),
        "clip": floors.get(f"{names['clip']}_reconstruction"),
    }
    return [
        _floor_row("real images against real", blank, real, names, metrics),
        _floor_row("real images through the image codec", blank, rebuilt, names, metrics),
    ]


def _floor_row(
    label: str,
    blank: int,
    values: Mapping[str, float | None],
    names: Mapping[str, str],
    metrics: Sequence[str],
) -> list[str]:
    cells = []
    for metric in metrics:
        scale, digits = shown(metric, names)
        found = values.get(metric)
        cells.append(number(None if found is None else scale * found, digits))
    return [label, *[""] * (blank - 1), *cells, "", ""]


def _result_row(row: Result, material: Material, metrics: Sequence[str]) -> list[str]:
    study = material.study
    cells = [figure_cell(row, metric, material.names) for metric in metrics]
    paper = paper_numbers(study, row.selection, row.ratio)
    quoted = ["", ""]
    if paper is not None:
        mark = "†" if paper["source"] == "derived" else ""
        quoted = [f"{paper['fid']:.2f}{mark}", f"{paper['clip']:.4f}{mark}"]
    sizes = [number(row.pairs), number(row.images), number(row.epochs, 2)]
    taken = [loss_cell(row.losses)] if row.losses else []
    return [_label(study, row.selection), share_text(row.ratio), *sizes, *taken, *cells, *quoted]


def figure_cell(row: Result, metric: str, names: Mapping[str, str]) -> Markup:
    """A figure, bold where it is the best, and in small its difference to the random subset."""
    scale, digits = shown(metric, names)
    value = Markup.escape(told(row.figures[metric], digits, scale=scale))
    if metric in row.best:
        value = Markup("<b>{}</b>").format(value)
    if metric in row.to_random:
        value += Markup("<small>{}</small>").format(told(row.to_random[metric], digits, True, scale))
    return value


def _label(study: Study, selection: str) -> str:
    """A selection's name, and in small what it does."""
    if selection == FULL:
        return Markup("full<small>all usable pairs</small>")
    settings = study.selections[selection]
    does = SAMPLERS[settings.sampler]
    if settings.sampler != "random":
        does += f" on {settings.rater}"
        by = study.rated_by(selection)
        if by is not None and by != study.grid.home:
            does += f" (proxy of the family {by})"
    if study.reads_truth(selection):
        does += ", a bound that sees planted truth"
    return Markup("{}<small>{}</small>").format(selection, does)
