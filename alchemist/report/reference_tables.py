"""The page's tables on references: an arm a row, a view of prompts and references a column."""

from typing import Any

from markupsafe import Markup

from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.references import WORDS, places, references, swapped
from alchemist.analysis.results import Result, results
from alchemist.analysis.words import POINTS, capital, number, several
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Material
from alchemist.report.result_tables import figure_cell

METRICS = ("fd", "kid", "nll", "clip")  # on the first network; figures of further ones stand in figures.json
TOLD = 3  # pairs of arms that a sentence names

Found = dict[tuple[str, str], list[Result]]  # by view and point


def reference_tables(material: Material) -> dict[str, Any] | None:
    """Which view decides, and for every model and metric a title, a table and what differs.

    None for a pool whose views are all the same.
    """
    sizes = references(material.first)
    if not sizes:
        return None
    decides, *others = sizes
    parts = []
    for model in material.study.models():
        found = {
            (name, point): results(material.study, table, model, point)
            for name, table in material.by_reference.items()
            for point in POINTS
        }
        for metric in METRICS:
            if metric in material.metrics_of(model):
                title = metric_name(metric, material.names) + " by reference"
                if len(material.study.models()) > 1:
                    title += f", model {model}"
                table = _table(material, model, metric, sizes, found)
                told = [_differs(found, metric, decides, other) for other in others]
                parts.append({"title": title, "table": table, "told": told})
    return {"decides": WORDS[decides], "parts": parts}


def _table(
    material: Material, model: str, metric: str, sizes: dict[str, tuple[int, int]], found: Found
) -> Table:
    """Arms at both points with their places, and what real images score in the place of generated ones."""
    decides = next(iter(sizes))
    head: list[str] = ["selection", "at"]
    for name, (n, reference_n) in sizes.items():
        words = WORDS[name] + (", decides" if name == decides else "")
        head.append(Markup("{}<small>{}, {}</small>").format(words, number(n), number(reference_n)))
    rows: list[list[str]] = []
    groups = []
    for point, words in POINTS.items():
        groups.append(len(rows))
        placed = {name: places(found[name, point], metric) for name in sizes}
        for i, row in enumerate(found[decides, point]):
            arm = row.selection, row.ratio
            cells = []
            for name in sizes:
                place = f"place {placed[name][arm]}"
                if placed[name][arm] != placed[decides][arm]:
                    place += f", not {placed[decides][arm]}"
                cell = figure_cell(found[name, point][i], metric, material.names)
                cells.append(cell + Markup("<small>{}</small>").format(place))
            rows.append([arm_name(*arm), words.replace(" ", "\N{NO-BREAK SPACE}"), *cells])
    groups.append(len(rows))
    floors = material.first_of(material.study.grid.family_of(model))["reference_floors"]
    scale, digits = shown(metric, material.names)
    values = [floors[name].get(material.names.get(metric, metric)) for name in sizes]
    told = [number(None if value is None else scale * value, digits) for value in values]
    rows.append(["real\N{NO-BREAK SPACE}images", "", *told])
    return Table(head, rows, left=2, groups=groups[1:])


def _differs(found: Found, metric: str, decides: str, other: str) -> str:
    """In how many pairs of arms the order by another view is the other way round, at equal images."""
    rows, others = found[decides, "equal_images"], found[other, "equal_images"]
    pairs, count = swapped(rows, others, metric), len(rows) * (len(rows) - 1) // 2
    if not pairs:
        return f"{capital(WORDS[other])}: all arms stand in the same order at equal images."
    named = "; ".join(f"{arm_name(*a)} before {arm_name(*b)}" for a, b in pairs[:TOLD])
    more = f"; and {len(pairs) - TOLD} more" if len(pairs) > TOLD else ""
    return (
        f"{capital(WORDS[other])}: {len(pairs)} of {several(count, 'pair')} of arms stand the other way "
        f"round at equal images. By the one that decides: {named}{more}."
    )
