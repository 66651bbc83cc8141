"""The page's section on the paper: its tables and figures, ours beside them."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from alchemist.analysis import cost
from alchemist.analysis import results as report
from alchemist.analysis.results import FULL, Result, Stat
from alchemist.report import figures as report_figures
from alchemist.report import material as report_tables
from alchemist.report.figures import Band, Line
from alchemist.report.material import Material
from alchemist.report.parts import Table, curve_of, keep, legend_of
from alchemist.report.words import (
    DASH,
    POINT_WORDS,
    SAMPLERS,
    metric_name,
    share_text,
    shown,
    told,
)
from alchemist.settings.rater import LossRater, MetaRater

# -------------------------------------------------------------------------------- the paper's page


def paper_parts(held: Material, figures: dict[str, str]) -> dict[str, Any]:
    """Tables 1 to 4 and figures 2b, 3 and 6 of the paper, ours beside them where the grid has them."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    parameters = {cell.model: held.scores[cell.name]["parameters"] for cell in study.cells()}
    models = report.paper_models(study, held.params["roles"], parameters)
    found = {
        (model, point): {(r.selection, r.ratio): r for r in report.results(study, held.table, model, point)}
        for model in study.models()
        for point in POINT_WORDS
    }
    kinds = [metric_name(metric, names) for metric in ("fd", "clip")]
    head = ["method", "keeps", "data", "model", "ours", "our model", "paper: FID", "paper: CLIP"]
    head += [f"{kind}, {words}" for words in POINT_WORDS.values() for kind in kinds]
    tables: dict[str, list[list[str]]] = {}
    for row in report.paper_rows(study, models):
        mark = "†" if row.derived else ""
        ours = [DASH] * 4
        if row.selection is not None and row.our_model is not None:
            arms = [found[row.our_model, point][row.selection, row.ratio] for point in POINT_WORDS]
            ours = [_beside_random(arm, metric, names) for arm in arms for metric in ("fd", "clip")]
        where = [row.method, share_text(row.ratio), row.dataset, row.model]
        quoted = [f"{row.fid:.2f}{mark}", f"{row.clip:.4f}{mark}"]
        who = [row.selection or DASH, row.our_model or DASH]
        tables.setdefault(row.table, []).append([*where, *who, *quoted, *ours])
    quoted_rows = len(tables["table3"])
    tables["table3"] += _elsewhere_rows(held, names)
    groups = {"table3": [quoted_rows]}
    return {
        "tables": [
            {
                "title": f"Table {name.removeprefix('table')}",
                "table": Table(head, rows, 6, groups.get(name, ())),
            }
            for name, rows in sorted(tables.items())
        ],
        "elsewhere": held.elsewhere is not None,
        "main": study.grid.models[0],
        "stand_ins": [(name, model or "none") for name, model in models.items()],
        "blocks": _figure_2b(held, found, figures),
        "losses": _figure_3(held, figures),
        "speed": _figure_6(held, found, figures),
    }


def _beside_random(row: Result, metric: str, names: Mapping[str, str]) -> str:
    """A figure, and in small its difference to the random subset of the same size."""
    scale, digits = shown(metric, names)
    value = told(row.figures[metric], digits, scale=scale)
    if metric not in row.to_random:
        return value
    gap = told(row.to_random[metric], digits, True, scale)
    return Markup("{}<small>{}</small>").format(value, gap)


def _elsewhere_rows(held: Material, names: Mapping[str, str]) -> list[list[str]]:
    """Every selection on other pools of ours, which have no partner in Table 3."""
    if held.elsewhere is None:
        return []
    out = []
    keys = ["pool", "ratio", "model", "selection"]
    for _, rows in held.elsewhere.groupby(keys):
        at = rows.iloc[0]
        cells = []
        for point in POINT_WORDS:
            here = rows[rows["point"] == point]
            for metric in ("fd", "clip"):
                scale, digits = shown(metric, names)
                cells.append(DASH if here.empty else told(Stat.of(here[metric]), digits, scale=scale))
        where = [DASH, share_text(at["ratio"]), f"our pool {at['pool']}", DASH, at["selection"], at["model"]]
        out.append([*where, DASH, DASH, *cells])
    return out


Found = Mapping[tuple[str, str], Mapping[tuple[str, float], Result]]


def _figure_2b(held: Material, found: Found, figures: dict[str, str]) -> dict[str, Any] | None:
    """FD against the first rank of a contiguous block, the other samplers as level lines."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    blocks: dict[tuple[str, float], dict[float, str]] = {}
    for name, ratio in study.arms():
        chosen = study.selections[name]
        if (
            chosen.sampler == "block"
            and chosen.start is not None
            and isinstance(study.raters[chosen.rater], MetaRater)
        ):
            blocks.setdefault((chosen.rater, ratio), {})[chosen.start] = name
    (rater, ratio), starts = max(blocks.items(), key=lambda item: len(item[1]), default=(("", 0.0), {}))
    if len(starts) < 2:
        return None
    model = study.grid.models[0]
    beside = {
        SAMPLERS[chosen.sampler]: name
        for name, share in reversed(study.arms())
        if share == ratio
        and (chosen := study.selections[name]).sampler in ("topk", "gsample", "shift_gsample", "random")
        and (chosen.rater == rater or chosen.sampler == "random")
    }
    looks = {label: report_figures.look(i + 1)[0] for i, label in enumerate(sorted(beside))}
    block_look = report_figures.look(0)
    panels = []
    x = sorted(starts)
    for point, words in POINT_WORDS.items():
        rows = found[model, point]
        stats = [rows[starts[start], ratio].figures["fd"] for start in x]
        drawn: list[Line] = [(x, [stat.mean for stat in stats], *block_look, ())]
        bands: list[Band] = [_band(x, stats, block_look[0])]
        for label, name in sorted(beside.items()):
            stat = rows[name, ratio].figures["fd"]
            ends = [x[0], x[-1]]
            drawn.append((ends, [stat.mean] * 2, looks[label], None, (5, 2)))
            bands.append(_band(ends, [stat] * 2, looks[label]))
        title = f"{metric_name('fd', names)}, {words}"
        svg = report_figures.lines(title, "first rank of the block, % of the pool, 0 = best", drawn, bands)
        panels.append(keep(figures, f"paper-2b-{point}", svg))
    legend = [(Markup(report_figures.swatch(*block_look)), f"blocks of {share_text(ratio)} by {rater}")]
    legend += [(Markup(report_figures.swatch(looks[k], None, (5, 2))), k) for k in sorted(beside)]
    return {"panels": panels, "legend": legend}


def _band(x: Sequence[float], stats: Sequence[Stat], colour: str) -> Band:
    """Mean ± sd; without width for one seed."""
    low = [stat.mean - (stat.sd or 0.0) for stat in stats]
    return x, low, [stat.mean + (stat.sd or 0.0) for stat in stats], colour


def _figure_3(held: Material, figures: dict[str, str]) -> dict[str, Any] | None:
    """Mean loss of a plain proxy by decile of the headline's rating, from the loss rater's table."""
    study = held.study
    rater = study.selections[study.headline].rater if study.headline is not None else None
    plain = next(((n, s) for n, s in study.raters.items() if isinstance(s, LossRater)), None)
    if rater is None or plain is None:
        return None
    name, settings = plain
    # A rating is the measure times its direction, which is 1 or -1.
    losses = {seed: rating * settings.direction for seed, rating in held.ratings[name].items()}
    bands = report_tables.loss_bands(held.ratings[rater], losses)
    x, colour = bands.index.tolist(), report_figures.look(0)
    drawn: list[Line] = [(x, bands.mean(axis=1).tolist(), *colour, ())]
    spread: list[Band] = [(x, bands.min(axis=1).tolist(), bands.max(axis=1).tolist(), colour[0])]
    title = f"Loss of the plain proxy by decile of {rater}, nats a token"
    svg = report_figures.lines(title, "decile of the rating, 1 = best", drawn, spread)
    return {"panels": [keep(figures, "paper-3", svg)], "rater": rater, "loss": name}


def _figure_6(held: Material, found: Found, figures: dict[str, str]) -> dict[str, Any] | None:
    """FD and NLL against images, and against seconds with the rating, of the headline and of random."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    who = [name for name in (study.headline, study.baseline) if name is not None]
    if not who:
        return None
    model, ratios = study.grid.models[0], sorted(study.grid.ratios, reverse=True)
    spent = {
        (c.selection, c.ratio): c for c in cost.costs(study, held.bills, "equal_images") if c.model == model
    }
    looks = {name: report_figures.look(i) for i, name in enumerate(who)} | {FULL: (report_figures.INK, "o")}
    arms = [(FULL, 1.0), *((name, ratio) for ratio in ratios for name in who)]
    panels = []
    for metric in ("fd", "nll"):
        for timed in (False, True):
            drawn: list[Line] = []
            for arm in arms:
                curve = curve_of(held, model, *arm, metric)
                x = curve[0]
                if timed:
                    bill = spent[arm]
                    done = found[model, "equal_images"][arm].images
                    rating = bill.rating.seconds if bill.rating is not None else 0.0
                    x = [rating + bill.training.seconds * images / done for images in x]
                dash = () if arm[0] == FULL else report_figures.dashes(ratios.index(arm[1]))
                drawn.append((x, curve[1], *looks[arm[0]], dash))
            label = "seconds of training and rating" if timed else "images seen"
            svg = report_figures.lines(metric_name(metric, names), label, drawn)
            panels.append(keep(figures, f"paper-6-{metric}-{'seconds' if timed else 'images'}", svg))
    return {"panels": panels, "legend": legend_of(looks, ratios)}
