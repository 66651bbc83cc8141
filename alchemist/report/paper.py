"""The page's section on the paper: its tables with ours beside them."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name, shown
from alchemist.analysis.paper import DATASET, MODEL, paper_models, paper_rows
from alchemist.analysis.results import Result, Stat
from alchemist.analysis.words import DASH, POINTS
from alchemist.report.chart import Chart
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.paper_figures import Found, figure_2b, figure_3, figure_6
from alchemist.report.words import share_text, told


def paper_parts(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """Tables 1 to 4 and figures 2b, 3 and 6 of the paper, ours beside them where the grid has them."""
    study, names = material.study, material.names
    models = paper_models(study, material.params["roles"], material.parameters)
    found = {
        (model, point): {(r.selection, r.ratio): r for r in material.results(model, point)}
        for model in study.models()
        for point in POINTS
    }
    kinds = [metric_name(metric, names) for metric in ("fd", "clip")]
    head = ["method", "keeps", "data", "model", "ours", "our model", "paper: FID", "paper: CLIP"]
    head += [f"{kind}, {words}" for words in POINTS.values() for kind in kinds]
    tables: dict[str, list[list[str]]] = {}
    for row in paper_rows(study, models):
        mark = "†" if row.derived else ""
        ours = [DASH] * 4
        if row.selection is not None and row.our_model is not None:
            arms = [found[row.our_model, point][row.selection, row.ratio] for point in POINTS]
            ours = [_beside_random(arm, metric, names) for arm in arms for metric in ("fd", "clip")]
        where = [row.method, share_text(row.ratio), row.dataset, row.model]
        quoted = [f"{row.fid:.2f}{mark}", f"{row.clip:.4f}{mark}"]
        who = [row.selection or DASH, row.our_model or DASH]
        tables.setdefault(row.table, []).append([*where, *who, *quoted, *ours])
    groups = {name: [len(tables[name])] for name in ("table2", "table3")}
    between = _between_rows(material, found, names)
    tables["table2"] += between
    tables["table3"] += _elsewhere_rows(material, names)
    return {
        "tables": [
            {
                "title": f"Table {name.removeprefix('table')}",
                "table": Table(head, rows, 6, groups.get(name, ())),
            }
            for name, rows in sorted(tables.items())
        ],
        "elsewhere": material.elsewhere is not None,
        "main": study.grid.main,
        "between": bool(between),
        "its_main": MODEL,
        "its_data": DATASET,
        "stand_ins": [(name, model or "none") for name, model in models.items()],
        "blocks": figure_2b(material, found, charts),
        "losses": figure_3(material, charts),
        "speed": figure_6(material, found, charts),
    }


def _beside_random(row: Result, metric: str, names: Mapping[str, str]) -> str:
    """A figure, and in small its difference to the random subset of the same size."""
    scale, digits = shown(metric, names)
    value = told(row.figures[metric], digits, scale=scale)
    if metric not in row.to_random:
        return value
    gap = told(row.to_random[metric], digits, True, scale)
    return Markup("{}<small>{}</small>").format(value, gap)


def _between_rows(material: Material, found: Found, names: Mapping[str, str]) -> list[list[str]]:
    """Every model on the ratings of every family, where a family beside the main model's has a part in it."""
    study, out = material.study, []
    main = study.grid.family_of(study.grid.main)
    for model in study.grid.whole():
        of = study.grid.family_of(model)
        for name, ratio in study.measured(model):
            by = study.rated_by(name)
            if of == main and by in (None, main):
                continue  # those of one family alone are the paper's rows above, and in the results
            arms = [found[model, point][name, ratio] for point in POINTS]
            cells = [_beside_random(arm, metric, names) for arm in arms for metric in ("fd", "clip")]
            rated = DASH if by is None else f"rated by {by}"
            where = ["full" if name == FULL else DASH, share_text(ratio), rated, of, name, model]
            out.append([*where, DASH, DASH, *cells])
    return out


def _elsewhere_rows(material: Material, names: Mapping[str, str]) -> list[list[str]]:
    """Every selection on other pools of ours, which have no partner in Table 3."""
    if material.elsewhere is None:
        return []
    out = []
    keys = ["pool", "ratio", "model", "selection"]
    for _, rows in material.elsewhere.groupby(keys):
        at = rows.iloc[0]
        cells = []
        for point in POINTS:
            here = rows[rows["point"] == point]
            for metric in ("fd", "clip"):
                scale, digits = shown(metric, names)
                cells.append(DASH if here.empty else told(Stat.of(here[metric]), digits, scale=scale))
        where = [DASH, share_text(at["ratio"]), f"our pool {at['pool']}", DASH, at["selection"], at["model"]]
        out.append([*where, DASH, DASH, *cells])
    return out
