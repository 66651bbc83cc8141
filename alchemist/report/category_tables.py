"""The page's tables on categories of the evaluation images: an arm a row, a category a column."""

from typing import Any

from markupsafe import Markup

from alchemist.analysis.categories import categories, of_category
from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.results import Result, results, tidy
from alchemist.analysis.words import POINTS, number
from alchemist.core.one_line import one_line
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Material
from alchemist.report.result_tables import figure_cell

ALL = "all images"
LETTERS = 40  # of a category's name
METRICS = ("clip", "fd", "kid")  # on the first network; figures of further ones stand in figures.json


def category_tables(material: Material) -> list[dict[str, Any]]:
    """For every model and metric that a category has: title and table; none for a pool without categories."""
    sizes = categories(material.first)
    tables = {ALL: material.table} | {
        name: tidy(material.study, of_category(material.scores, name)) for name in sizes
    }
    out = []
    for model in material.study.models() if sizes else []:
        found = {
            (name, point): results(material.study, table, model, point)
            for name, table in tables.items()
            for point in POINTS
        }
        for metric in METRICS:
            measured = [name for name in sizes if _has(found[name, "equal_images"], metric)]
            if measured:
                title = metric_name(metric, material.names) + " by category"
                if len(material.study.models()) > 1:
                    title += f", model {model}"
                made = _table(material, model, metric, {name: sizes[name] for name in measured}, found)
                out.append({"title": title, "table": made})
    return out


def _has(rows: list[Result], metric: str) -> bool:
    return any(row.figures[metric].mean == row.figures[metric].mean for row in rows)  # no NaN


def _table(
    material: Material,
    model: str,
    metric: str,
    sizes: dict[str, tuple[int, int]],
    found: dict[tuple[str, str], list[Result]],
) -> Table:
    """Arms at both points, and what real images score in the place of generated ones."""
    study, names = material.study, material.names
    head: list[str] = ["selection", "at"]
    for name, (n, reference_n) in (
        {ALL: (material.first["n"], material.first["reference_n"])} | sizes
    ).items():
        head.append(
            Markup("{}<small>{}, {}</small>").format(one_line(name, LETTERS), number(n), number(reference_n))
        )
    rows: list[list[str]] = []
    groups = []
    for point, words in POINTS.items():
        groups.append(len(rows))
        for i, row in enumerate(found[ALL, point]):
            cells = [figure_cell(found[name, point][i], metric, names) for name in (ALL, *sizes)]
            rows.append([arm_name(row.selection, row.ratio), _on_one_line(words), *cells])
    groups.append(len(rows))
    first = material.first_of(study.grid.family_of(model))
    floors = [first["floors"], *(first["category_floors"][name] for name in sizes)]
    scale, digits = shown(metric, names)
    values = [floor.get(names[metric]) for floor in floors]
    told = [number(None if value is None else scale * value, digits) for value in values]
    rows.append([_on_one_line("real images"), "", *told])
    return Table(head, rows, left=2, groups=groups[1:])


def _on_one_line(words: str) -> str:
    return words.replace(" ", "\N{NO-BREAK SPACE}")
