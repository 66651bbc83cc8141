"""The report's page: what the tables and figures say, in words that the numbers decide, as one HTML file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from alchemist.analysis import results as report
from alchemist.analysis.results import FULL, METRICS, Cell, Result, Stat, Study
from alchemist.pools import store as pool_store
from alchemist.report import figures as report_figures
from alchemist.report import material as report_tables
from alchemist.report.figures import Band, Line
from alchemist.report.findings import agreement_tables, contrast_table, cost_tables, verdict_tables
from alchemist.report.material import Material
from alchemist.report.paper import paper_parts
from alchemist.report.parts import KINDS, Table, arm_name, curve_of, keep, legend_of
from alchemist.report.words import (
    DASH,
    POINT_WORDS,
    SAMPLERS,
    caveats,
    flat,
    hundredfold,
    metric_name,
    number,
    percent,
    share_text,
    shown,
    story,
    told,
)
from alchemist.settings.rater import seeded

KIND_COLOURS = dict(
    zip(KINDS, ("#0072B2", "#BBBBBB", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9"), strict=True)
)
EXAMPLES = 6  # a decile
MANY = 24  # cells; where there are more, samples of the first seed alone are shown


def render(held: Material) -> tuple[str, dict[str, str]]:
    """The page, and its figures as standalone SVG by name. Equal material gives equal bytes."""
    figures: dict[str, str] = {}
    accounts = report_tables.ledger(held.index, held.subsets)
    report_tables.check_sizes(held.study, accounts, held.scores)
    first = held.scores[held.study.cells()[0].name]
    context = {
        "story": story(held),
        "caveats": caveats(held),
        "seeds": len(held.study.grid.seeds),
        "confidence": percent(held.confidence),
        "results": _results(held),
        "names": first["names"],
        "clip_raw": not hundredfold(first["names"]["clip"]),
        "summary": [(k, f"{v:g}") for k, v in report.summary(held.study, held.table).items()],
        "summary_ratio": f"{max(held.study.grid.ratios):g}",
        "summary_model": held.study.grid.models[0],
        "verdicts": verdict_tables(held),
        "contrasts": contrast_table(held),
        "agreement": agreement_tables(held),
        "cost": cost_tables(held),
        "paper": paper_parts(held, figures),
        "curves": _curves(held, figures),
        "makeup": _makeup(held, figures),
        "examples": _examples(held),
        "prompts": first.get("grid_prompts", []),
        "sheets": _sheets(held),
        "rating": _rating(held, figures),
        "ledger": _ledger(accounts),
        "splits": _splits(held.pool_card),
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
    """For every model and point: title and table. The paper's numbers stand beside the first model."""
    study = held.study
    first = held.scores[study.cells()[0].name]
    names, floors = first["names"], first["floors"]
    head = ["selection", "keeps", "pairs", "images", "epochs", *(metric_name(m, names) for m in METRICS)]
    real = {metric: floors.get(names[metric]) for metric in ("fd", "kid", "clip")}
    rebuilt = {
        "fd": floors.get("fd_reconstruction"),
        "fd_tokenized": floors.get(f"{names['fd']}_tokenized"),
        "clip": floors.get(f"{names['clip']}_reconstruction"),
    }
    below = [
        _floor_row("real images against real", real, names),
        _floor_row("real images through the tokenizer", rebuilt, names),
    ]
    out = []
    for model in study.models():
        quoted = ["paper: FID", "paper: CLIP"] if model == study.grid.models[0] else []
        for point, words in POINT_WORDS.items():
            found = report.results(study, held.table, model, point)
            rows = [_result_row(study, row, names) for row in found] + below
            groups = [i for i, row in enumerate(found) if i and row.ratio != found[i - 1].ratio]
            title = words.capitalize() + (f", model {model}" if len(study.models()) > 1 else "")
            width = len(head) + len(quoted)
            cut = [row[:width] for row in rows]
            out.append({"title": title, "table": Table([*head, *quoted], cut, groups=[*groups, len(found)])})
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


# ------------------------------------------------------------------------------------- figures


def _curves(held: Material, figures: dict[str, str]) -> dict[str, Any]:
    """The selections of the grid; those of the ablation stand in the tables alone."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    ratios = sorted(study.grid.ratios, reverse=True)
    looks = {name: report_figures.look(i) for i, name in enumerate(study.grid.selections)}
    looks[FULL] = (report_figures.INK, "o")
    panels = []
    for number_of, model in enumerate(study.models()):
        arms = [a for a in study.measured(model) if a[0] == FULL or (a[0] in looks and a[1] in ratios)]
        for metric in ("fd", "fd_tokenized", "clip", "nll"):
            drawn: list[Line] = []
            bands: list[Band] = []
            for arm in arms:
                x, mean, low, high = curve_of(held, model, *arm, metric)
                colour, marker = looks[arm[0]]
                dash = report_figures.dashes(ratios.index(arm[1])) if arm[0] != FULL else ()
                drawn.append((x, mean, colour, marker, dash))
                if len(study.grid.seeds) > 1:
                    bands.append((x, low, high, colour))
            title = metric_name(metric, names) + (f", {model}" if len(study.models()) > 1 else "")
            svg = report_figures.lines(title, "images seen", drawn, bands)
            panels.append(keep(figures, f"curve-{number_of}-{metric}", svg))
    return {
        "panels": panels,
        "legend": legend_of(looks, ratios),
        "ablation": bool(study.grid.ablation.selections),
    }


def _makeup(held: Material, figures: dict[str, str]) -> dict[str, Any] | None:
    if held.kinds is None:
        return None
    panels = []
    for i, rater in enumerate(held.ratings):
        shares = report_tables.mean_decile_shares(held.ratings[rater], held.kinds)
        panels.append(keep(figures, f"deciles-{i}", report_figures.stacked(str(rater), shares, KIND_COLOURS)))
    rows = []
    for rater, by_seed in held.ratings.items():
        means = report_tables.kind_percentiles(by_seed, held.kinds)
        if not seeded(held.study.raters[rater]):
            means = {kind: Stat(stat.mean, None, 1) for kind, stat in means.items()}
        rows.append([rater, *(told(means[kind], 1) if kind in means else DASH for kind in KINDS)])
    made = report_tables.subset_shares(held.subsets, held.kinds)
    return {
        "panels": panels,
        "legend": [(Markup(report_figures.chip(colour)), kind) for kind, colour in KIND_COLOURS.items()],
        "separation": Table(["rater", *KINDS], rows),
        "subsets": Table(
            ["subset", *(f"{kind}, %" for kind in KINDS)],
            [
                [arm_name(*arm), *(number(100 * shares.get(kind, 0.0), 1) for kind in KINDS)]
                for arm, shares in made.items()
            ],
        ),
    }


def _examples(held: Material) -> dict[str, Any]:
    study = held.study
    rater = study.selections[study.headline].rater if study.headline else next(iter(held.ratings))
    seed = study.grid.seeds[0]
    chosen = report_tables.examples(held.ratings[rater][seed], EXAMPLES)
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
    return {"rater": rater, "rows": rows, "seed": seed if seeded(study.raters[rater]) else None}


def _kind(held: Material, name: str) -> str:
    return "" if held.kinds is None else str(held.kinds[name])


def pictured(study: Study) -> list[Cell]:
    """Cells whose samples are shown: all, or those of the first seed where there are many."""
    cells = study.cells()
    return cells if len(cells) <= MANY else [cell for cell in cells if cell.seed == study.grid.seeds[0]]


def _sheets(held: Material) -> dict[str, Any]:
    many = len(held.study.models()) > 1, len(held.study.grid.seeds) > 1
    out = []
    for cell in pictured(held.study):
        title = arm_name(cell.selection, cell.ratio)
        title += (f", model {cell.model}" if many[0] else "") + (f", seed {cell.seed}" if many[1] else "")
        images = held.scores[cell.name]["checkpoints"][-1]["images"]
        uri = report_figures.data_uri(held.sheets[cell.name])
        out.append({"title": title, "images": number(images), "uri": uri, "cell": cell.name})
    left_out = len(held.study.cells()) - len(out)
    return {"cells": out, "left_out": left_out, "seed": held.study.grid.seeds[0]}


RATING_PANELS = {
    "validation_loss": "Proxy's loss on meta-validation pairs, nats a token",
    "train_loss": "Proxy's loss on pool pairs, nats a token",
    "effective_sample_share": "Effective sample size of the weights, share of the batch",
    "weight_loss_correlation": "Correlation of weight and loss in the batch",
    "gate": "Gate of the group head",
}


def _rating(held: Material, figures: dict[str, str]) -> dict[str, Any]:
    seed = held.study.grid.seeds[0]
    logs = {rater: by_seed[seed]["log"] for rater, by_seed in held.bills.logs.items()}
    logged = {rater: report_figures.thinned(log) for rater, log in logs.items() if log}
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
            panels.append(keep(figures, f"rating-{quantity}", svg))
    legend = [(Markup(report_figures.swatch(colour)), rater) for rater, colour in looks.items()]
    return {"panels": panels, "legend": legend, "seed": seed}


# -------------------------------------------------------------------------------------- tables


def _ledger(accounts: list[report_tables.Account]) -> Table:
    reasons = list(accounts[0].rejected)
    head = [
        "subset",
        "seeds",
        "kept",
        "pruned",
        "rejected",
        *(f"of it: {reason}" for reason in reasons),
        "all",
    ]
    rows = []
    for a, seeds in report_tables.merged(accounts):
        counts = [a.kept, a.pruned, sum(a.rejected.values()), *(a.rejected[r] for r in reasons), a.total]
        drawn = ", ".join(map(str, seeds)) or DASH
        rows.append([arm_name(a.selection, a.ratio), drawn, *map(number, counts)])
    return Table(head, rows, left=2)


def _splits(card: Mapping[str, Any]) -> Table:
    """Counts of every split; the store counts usable pairs under `ok`, others under their reason."""
    rows = []
    for split in pool_store.SPLITS:
        counts = dict(card["counts"][split])
        usable = counts.pop("ok", 0)
        rows.append([split, number(usable), number(sum(counts.values()))])
    return Table(["split", "usable", "rejected"], rows)


def _facts(held: Material) -> list[tuple[str, str]]:
    """Seeds, versions, threads and the like, as far as the cells' own records hold them."""
    grid = held.study.grid
    out = [("seeds of raters, samplers and training", ", ".join(map(str, grid.seeds)))]
    drawn = held.study.selections.items()
    out += [(f"added to the seed of selection {n}", str(chosen.seed)) for n, chosen in drawn if chosen.seed]
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
