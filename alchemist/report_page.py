"""The report's page: what the tables and figures say, in words that the numbers decide, as one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from alchemist import pool_store, report, report_figures, report_tables
from alchemist.report import FULL, METRICS, Result, Study
from alchemist.report_tables import Material
from alchemist.report_words import (
    POINT_WORDS,
    SAMPLERS,
    caveats,
    flat,
    hundredfold,
    metric_name,
    number,
    share_text,
    shown,
    story,
    told,
)

KINDS = ("informative", "plain", "chaotic", "mismatched", "degraded", "duplicate")  # order of the bars
KIND_COLOURS = dict(
    zip(KINDS, ("#0072B2", "#BBBBBB", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9"), strict=True)
)
EXAMPLES = 6  # a decile


@dataclass(frozen=True)
class Table:
    """A table for the template; the first `left` columns are words, the rest numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int = 1
    groups: Sequence[int] = ()  # rows above which a rule parts the table


def render(held: Material) -> tuple[str, dict[str, str]]:
    """The page, and its figures as standalone SVG by name. Equal material gives equal bytes."""
    figures: dict[str, str] = {}
    accounts = report_tables.ledger(held.index, held.subsets)
    report_tables.check_sizes(held.study, accounts, held.scores)
    first = held.scores[held.study.cells()[0].name]
    context = {
        "story": story(held),
        "caveats": caveats(held),
        "results": _results(held),
        "names": first["names"],
        "clip_raw": not hundredfold(first["names"]["clip"]),
        "summary": [(k, f"{v:g}") for k, v in report.summary(held.study, held.table).items()],
        "summary_ratio": f"{max(held.study.grid.ratios):g}",
        "summary_model": held.study.grid.models[0],
        "curves": _curves(held, figures),
        "makeup": _makeup(held, figures),
        "examples": _examples(held),
        "prompts": first.get("grid_prompts", []),
        "sheets": _sheets(held),
        "rating": _rating(held, figures),
        "correlation": _correlation(held),
        "ledger": _ledger(accounts),
        "splits": _splits(held.pool_card),
        "cost": _cost(held),
        "provenance": _facts(held),
        "example_count": EXAMPLES,
        "params": list(flat(held.params)),
        "tokenizer": list(flat(held.tokenizer)),
        "licence": held.pool_card.get("licence", "not stated"),
    }
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.j2").render(context), figures


# ------------------------------------------------------------------------------------- results


def _results(held: Material) -> list[dict[str, Any]]:
    """For every model and point: title and table."""
    study = held.study
    first = held.scores[study.cells()[0].name]
    names, floors = first["names"], first["floors"]
    head = ["selection", "keeps", "pairs", "images", "epochs", *(metric_name(m, names) for m in METRICS)]
    out = []
    for model in study.grid.models:
        for point, words in POINT_WORDS.items():
            found = report.results(study, held.table, model, point)
            rows = [_result_row(study, row, names) for row in found]
            groups = [i for i, row in enumerate(found) if i and row.ratio != found[i - 1].ratio]
            real = {metric: floors.get(names[metric]) for metric in ("fd", "kid", "clip")}
            rows.append(_floor_row("real images against real", real, names))
            rebuilt = {
                "fd": floors.get("fd_reconstruction"),
                "fd_tokenized": floors.get(f"{names['fd']}_tokenized"),
                "clip": floors.get(f"{names['clip']}_reconstruction"),
            }
            rows.append(_floor_row("real images through the tokenizer", rebuilt, names))
            out.append(
                {
                    "title": words.capitalize() + (f", model {model}" if len(study.grid.models) > 1 else ""),
                    "point": point,
                    "table": Table([*head, "paper: FID", "paper: CLIP"], rows, groups=[*groups, len(found)]),
                }
            )
    return out


def _floor_row(label: str, values: Mapping[str, float | None], names: Mapping[str, str]) -> list[str]:
    cells = []
    for metric in METRICS:
        scale, digits = shown(metric, names)
        found = values.get(metric)
        cells.append(number(None if found is None else scale * found, digits))
    return [label, "", "", "", "", *cells, "", ""]


def _result_row(study: Study, row: Result, names: Mapping[str, str]) -> list[str]:
    cells = []
    for metric in METRICS:
        scale, digits = shown(metric, names)
        value = Markup.escape(told(row.figures[metric], digits, scale=scale))
        if metric in row.best:
            value = Markup("<b>{}</b>").format(value)
        if metric in row.to_random:
            value += Markup("<small>{}</small>").format(told(row.to_random[metric], digits, True, scale))
        cells.append(value)
    paper = report.paper_numbers(study, row.selection, row.ratio)
    quoted = ["", ""]
    if paper is not None:
        mark = "†" if paper["source"] == "derived" else ""
        quoted = [f"{paper['fid']:.2f}{mark}", f"{paper['clip']:.4f}{mark}"]
    sizes = [number(row.pairs), number(row.images), number(row.epochs, 2)]
    return [_label(study, row.selection), share_text(row.ratio), *sizes, *cells, *quoted]


def _label(study: Study, selection: str) -> str:
    """A selection's name, and in small what it does."""
    if selection == FULL:
        return Markup("full<small>all usable pairs</small>")
    settings = study.selections[selection]
    does = SAMPLERS[settings.sampler]
    if settings.sampler != "random":
        does += f" on {settings.rater}"
    if study.reads_truth(selection):
        does += ", a bound that sees planted truth"
    return Markup("{}<small>{}</small>").format(selection, does)


def _arm(selection: str, ratio: float) -> str:
    return FULL if selection == FULL else f"{selection}, {share_text(ratio)}"


# ------------------------------------------------------------------------------------- figures


def _keep(figures: dict[str, str], name: str, svg: str) -> Markup:
    """Stores a standalone figure and returns it for the page."""
    figures[name] = svg
    return Markup(report_figures.inline(svg, name))


def _curves(held: Material, figures: dict[str, str]) -> dict[str, Any]:
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    ratios = sorted(study.grid.ratios, reverse=True)
    looks = {name: report_figures.look(i) for i, name in enumerate(study.grid.selections)}
    looks[FULL] = (report_figures.INK, "o")
    panels = []
    for number_of, model in enumerate(study.grid.models):
        for metric in ("fd", "fd_tokenized", "clip", "nll"):
            drawn: list[report_figures.Line] = []
            for cell in study.cells():
                if cell.model == model:
                    at = held.table[held.table["cell"] == cell.name].sort_values("images")
                    at = at.drop_duplicates("images")
                    colour, marker = looks[cell.selection]
                    dash = report_figures.dashes(ratios.index(cell.ratio)) if cell.selection != FULL else ()
                    drawn.append((at["images"].tolist(), at[metric].tolist(), colour, marker, dash))
            title = metric_name(metric, names) + (f", {model}" if len(study.grid.models) > 1 else "")
            svg = report_figures.lines(title, "images seen", drawn)
            panels.append(_keep(figures, f"curve-{number_of}-{metric}", svg))
    legend = [
        (Markup(report_figures.swatch(colour.replace(report_figures.INK, "currentColor"), marker)), name)
        for name, (colour, marker) in sorted(looks.items(), key=lambda item: item[0] != FULL)
    ]
    legend += [
        (Markup(report_figures.swatch("currentColor", None, report_figures.dashes(i))), share_text(ratio))
        for i, ratio in enumerate(ratios)
    ]
    return {"panels": panels, "legend": legend}


def _makeup(held: Material, figures: dict[str, str]) -> dict[str, Any] | None:
    if held.kinds is None:
        return None
    panels = []
    for i, rater in enumerate(held.ratings):
        shares = report_tables.decile_shares(held.ratings[rater], held.kinds)
        panels.append(
            _keep(figures, f"deciles-{i}", report_figures.stacked(str(rater), shares, KIND_COLOURS))
        )
    apart = report_tables.separation(held.ratings, held.kinds)
    rows = [
        [str(rater), *(number(row.get(kind), 1) for kind in KINDS), number(row["auc"], 3)]
        for rater, row in apart.iterrows()
    ]
    made = report_tables.subset_shares(held.subsets, held.kinds)
    return {
        "panels": panels,
        "legend": [(Markup(report_figures.chip(colour)), kind) for kind, colour in KIND_COLOURS.items()],
        "separation": Table(["rater", *KINDS, "AUC informative"], rows),
        "subsets": Table(
            ["subset", *(f"{kind}, %" for kind in KINDS)],
            [
                [_arm(*arm), *(number(100 * shares.get(kind, 0.0), 1) for kind in KINDS)]
                for arm, shares in made.items()
            ],
        ),
    }


def _examples(held: Material) -> dict[str, Any]:
    study = held.study
    rater = study.selections[study.headline].rater if study.headline else str(held.ratings.columns[0])
    chosen = report_tables.examples(held.ratings[rater], EXAMPLES)
    index = held.index.set_index("id")
    rows = []
    for decile, ids in enumerate(chosen):
        pairs = index.loc[ids]
        pixels = pool_store.images(held.pool, pairs)
        rows.append(
            {
                "decile": decile + 1,
                "pairs": [
                    {"uri": report_figures.picture(image), "caption": caption, "kind": _kind(held, name)}
                    for image, caption, name in zip(pixels, pairs["caption"], ids, strict=True)
                ],
            }
        )
    return {"rater": rater, "rows": rows}


def _kind(held: Material, name: str) -> str:
    return "" if held.kinds is None else str(held.kinds[name])


def _sheets(held: Material) -> list[dict[str, str]]:
    many = len(held.study.grid.models) > 1, len(held.study.grid.seeds) > 1
    out = []
    for cell in held.study.cells():
        title = _arm(cell.selection, cell.ratio)
        title += (f", model {cell.model}" if many[0] else "") + (f", seed {cell.seed}" if many[1] else "")
        images = held.scores[cell.name]["checkpoints"][-1]["images"]
        uri = report_figures.data_uri(held.sheets[cell.name])
        out.append({"title": title, "images": number(images), "uri": uri, "cell": cell.name})
    return out


RATING_PANELS = {
    "validation_loss": "Proxy's loss on meta-validation pairs, nats a token",
    "train_loss": "Proxy's loss on pool pairs, nats a token",
    "effective_sample_share": "Effective sample size of the weights, share of the batch",
    "weight_loss_correlation": "Correlation of weight and loss in the batch",
    "gate": "Gate of the group head",
}


def _rating(held: Material, figures: dict[str, str]) -> dict[str, Any]:
    logged = {
        rater: report_figures.thinned(facts["log"]) for rater, facts in held.logs.items() if facts["log"]
    }
    looks = {rater: report_figures.look(i)[0] for i, rater in enumerate(logged)}
    panels = []
    for quantity, title in RATING_PANELS.items():
        drawn: list[report_figures.Line] = []
        for rater, log in logged.items():
            # A plainly trained proxy logs its loss on the pool alone, under another name.
            key = "loss" if quantity == "train_loss" and "loss" in log[0] else quantity
            if key in log[0]:
                values = [row[key] for row in log]
                drawn.append(([row["images"] for row in log], values, looks[rater], None, ()))
        if drawn:
            svg = report_figures.lines(title, "images of the pool seen", drawn)
            panels.append(_keep(figures, f"rating-{quantity}", svg))
    legend = [(Markup(report_figures.swatch(colour)), rater) for rater, colour in looks.items()]
    return {"panels": panels, "legend": legend}


# -------------------------------------------------------------------------------------- tables


def _correlation(held: Material) -> Table:
    found = report_tables.spearman(held.ratings)
    rows = [
        [str(name), *(number(v, 3) for v in row)]
        for name, row in zip(found.index, found.to_numpy(), strict=True)
    ]
    return Table(["", *map(str, found.columns)], rows)


def _ledger(accounts: list[report_tables.Account]) -> Table:
    reasons = list(accounts[0].rejected)
    head = ["subset", "kept", "pruned", "rejected", *(f"of it: {reason}" for reason in reasons), "all"]
    rows = []
    for a in accounts:
        counts = [a.kept, a.pruned, sum(a.rejected.values()), *(a.rejected[r] for r in reasons), a.total]
        rows.append([_arm(a.selection, a.ratio), *map(number, counts)])
    return Table(head, rows)


def _splits(card: Mapping[str, Any]) -> Table:
    """Counts of every split; the store counts usable pairs under `ok`, others under their reason."""
    rows = []
    for split in pool_store.SPLITS:
        counts = dict(card["counts"][split])
        usable = counts.pop("ok", 0)
        rows.append([split, number(usable), number(sum(counts.values()))])
    return Table(["split", "usable", "rejected"], rows)


def _cost(held: Material) -> dict[str, Table]:
    raters, cells, arms = [], [], []
    for rater, facts in held.logs.items():
        train, score = report_tables.rating_seconds(facts)
        raters.append([rater, number(facts["pairs"]), *(number(v, 1) for v in (train, score, train + score))])
    for cell in held.study.cells():
        run = held.scores[cell.name]
        images = number(run["checkpoints"][-1]["images"])
        training = [number(run["train_seconds"], 1), _tera(run["train_flops"])]
        cells.append([cell.name, images, *training, number(run["evaluate_seconds"], 1)])
    for cost in report_tables.costs(held.study, held.scores, held.logs):
        training = [number(cost.seconds, 1), _tera(cost.flops), number(cost.rating_seconds, 1)]
        shares = [number(100 * cost.share, 1), number(100 * cost.share_with_rating, 1)]
        arms.append([_arm(cost.selection, cost.ratio), cost.model, *training, *shares])
    stages = [[name, number(seconds, 1)] for name, seconds in held.times.items()]
    trained = ["training, s", "training, TFLOP"]
    compared = ["rating, s", "% of full, without rating", "% of full, with rating"]
    return {
        "stages": Table(["stage", "seconds"], stages),
        "raters": Table(["rater", "pairs rated", "training, s", "scoring, s", "together, s"], raters),
        "cells": Table(["cell", "images", *trained, "evaluation, s"], cells),
        "arms": Table(["subset", "model", *trained, *compared], arms, left=2),
    }


def _tera(flops: float) -> str:
    return number(flops / 1e12, 2)


def _facts(held: Material) -> list[tuple[str, str]]:
    """Seeds, versions, threads and the like, as far as the cells' own records hold them."""
    grid = held.study.grid
    out = [("seeds of training", ", ".join(map(str, grid.seeds)))]
    out += [(f"seed of selection {name}", str(held.study.selections[name].seed)) for name in grid.selections]
    seeds = {name: getattr(rater, "seed", None) for name, rater in held.study.raters.items()}
    out += [(f"seed of rater {name}", str(seed)) for name, seed in seeds.items() if seed is not None]
    for key in ("versions", "threads", "hardware"):
        found: dict[str, set[str]] = {}
        for score in held.scores.values():
            for name, value in flat(score.get(key, {}), key):
                if value != "{}":
                    found.setdefault(name, set()).add(value)
        out += [(name, ", ".join(sorted(values))) for name, values in sorted(found.items())]
    parameters = {cell.model: held.scores[cell.name]["parameters"] for cell in held.study.cells()}
    return out + [(f"parameters of model {model}", number(count)) for model, count in parameters.items()]
