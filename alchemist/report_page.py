"""The report's page: what the tables and figures say, in words that the numbers decide, as one HTML file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from markupsafe import Markup

from alchemist import agreement, cost, pool_store, report, report_figures, report_tables
from alchemist.cost import BreakEven, Spent, TimeTo
from alchemist.report import FULL, METRICS, Cell, Result, Stat, Study
from alchemist.report_figures import Band, Line
from alchemist.report_tables import Material
from alchemist.report_words import (
    DASH,
    POINT_WORDS,
    SAMPLERS,
    TIMES,
    caveats,
    contrast_text,
    flat,
    hundredfold,
    interval_text,
    metric_name,
    number,
    p_text,
    percent,
    share_text,
    shown,
    shown_unit,
    story,
    told,
    unit_name,
)
from alchemist.settings.rater import LossRater, MetaRater, seeded
from alchemist.statistics import Interval

KINDS = ("informative", "plain", "chaotic", "mismatched", "degraded", "duplicate")  # order of the bars
KIND_COLOURS = dict(
    zip(KINDS, ("#0072B2", "#BBBBBB", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9"), strict=True)
)
EXAMPLES = 6  # a decile
MANY = 24  # cells; where there are more, samples of the first seed alone are shown


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
        "seeds": len(held.study.grid.seeds),
        "confidence": percent(held.confidence),
        "results": _results(held),
        "names": first["names"],
        "clip_raw": not hundredfold(first["names"]["clip"]),
        "summary": [(k, f"{v:g}") for k, v in report.summary(held.study, held.table).items()],
        "summary_ratio": f"{max(held.study.grid.ratios):g}",
        "summary_model": held.study.grid.models[0],
        "verdicts": _verdicts(held),
        "contrasts": _contrasts(held),
        "agreement": _agreement(held),
        "cost": _cost(held),
        "paper": _paper(held, figures),
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


def _arm(selection: str, ratio: float) -> str:
    return FULL if selection == FULL else f"{selection}, {share_text(ratio)}"


# ---------------------------------------------------------------------- verdicts and contrasts


def _verdicts(held: Material) -> dict[str, Table]:
    """The claims with their verdicts, and every comparison that they rest on."""
    names = held.scores[held.study.cells()[0].name]["names"]
    claims: list[list[str]] = []
    parts: list[list[str]] = []
    groups: list[int] = []
    for v in held.verdicts:
        said = Markup('{}<small class="why">{}</small>').format(v.sentence, v.why)
        claims.append([v.claim, Markup("<b>{}</b>").format(v.verdict), said])
        groups.append(len(parts))
        for part in v.parts:
            scale, digits, sign = shown_unit(part.unit, names)
            what = part.what if part.decides else Markup("{}<small>stands beside</small>").format(part.what)
            figures = [
                interval_text(part.interval, digits, sign, scale),
                number(scale * part.claimed, digits),
            ]
            tests = [p_text(part.interval.p_t), p_text(part.interval.p_flip)]
            where = unit_name(part.unit, names), part.verdict
            parts.append([v.claim, what, *where, number(part.interval.n), *figures, *tests])
    head = [
        "claim",
        "comparison",
        "in",
        "verdict",
        "n",
        "mean and interval",
        "to exclude",
        "p, t-test",
        "p, sign flip",
    ]
    return {
        "claims": Table(
            ["claim", "verdict", "what the paper claims, and what was found here"], claims, left=3
        ),
        "parts": Table(head, parts, left=4, groups=groups[1:]),
    }


def _contrasts(held: Material) -> Table | None:
    names = held.scores[held.study.cells()[0].name]["names"]
    rows = []
    for c in held.contrasts:
        scale, digits = shown(c.metric, names)
        each = ", ".join(number(scale * d, digits, True) for d in c.differences.values())
        label = Markup("{}<small>{}</small>").format(c.name, "primary" if c.primary else "secondary")
        what = contrast_text(c, names), c.favours or "neither"
        tests = [p_text(p) for p in (c.interval.p_t, c.p_holm, c.interval.p_flip)]
        mean = interval_text(c.interval, digits, True, scale)
        rows.append([label, *what, number(c.interval.n), mean, *tests, each])
    head = ["contrast", "difference", "in favour of", "n", "mean and interval"]
    tests = ["p, t-test", "p, Holm", "p, sign flip", "each seed"]
    return Table([*head, *tests], rows, left=3, groups=[1]) if rows else None


# ------------------------------------------------------------------------------------- agreement


def _agreement(held: Material) -> dict[str, Any]:
    """Rank correlations of ratings, overlap of subsets, AUC of planted kinds."""
    study = held.study
    found = agreement.rank_correlations(held.ratings)
    cells = {pair: _spread(c.mean, c.low, c.high, c.n, 3) for c in found for pair in _both(c.first, c.second)}
    for rater, settings in study.raters.items():
        if not seeded(settings):
            cells[rater, rater] = DASH  # one table for all seeds agrees with itself by construction
    usable = int((held.index["status"] == "ok").sum())
    every = agreement.overlaps(held.subsets, usable)
    overlaps = []
    for ratio in sorted({arm[1] for arm in study.arms()}, reverse=True):
        pairs = [o for o in every if o.ratio == ratio]
        if pairs:
            jaccard = {
                pair: _spread(o.overlap.jaccard, o.low, o.high, o.n, 3)
                for o in pairs
                for pair in _both(o.first, o.second)
            }
            arms = list(dict.fromkeys(name for o in pairs for name in (o.first, o.second)))
            chance = number(float(np.mean([o.overlap.chance for o in pairs])), 3)
            overlaps.append({"ratio": share_text(ratio), "chance": chance, "table": _square(arms, jaccard)})
    return {
        "correlation": _square(list(study.raters), cells),
        "overlaps": overlaps,
        "auc": None if held.kinds is None else _auc(held),
    }


def _both(first: str, second: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return (first, second), (second, first)


def _square(names: Sequence[str], cells: Mapping[tuple[str, str], str]) -> Table:
    """A symmetric table; a pair that was not compared has a dash."""
    rows = [[name, *(cells.get((name, other), DASH) for other in names)] for name in names]
    return Table(["", *names], rows)


def _spread(mean: float, low: float, high: float, n: int, digits: int) -> str:
    """A mean, and in small its range where it is one of several values."""
    if n < 2:
        return number(mean, digits)
    ends = number(low, digits), number(high, digits)
    return Markup("{}<small>{} to {}</small>").format(number(mean, digits), *ends)


def _auc(held: Material) -> Table:
    kinds = held.kinds
    assert kinds is not None
    found = agreement.auc_by_kind(held.ratings, kinds)
    cells = {
        (row["rater"], row["kind"]): told(
            Stat(
                row["mean"],
                None if row["n"] < 2 or not seeded(held.study.raters[row["rater"]]) else row["sd"],
                row["n"],
            ),
            3,
        )
        for row in found.to_dict("records")
    }
    rows = [[rater, *(cells.get((rater, kind), DASH) for kind in KINDS)] for rater in held.study.raters]
    return Table(["rater", *KINDS], rows)


# ----------------------------------------------------------------------------------------- cost


def _cost(held: Material) -> dict[str, Any]:
    study, bills = held.study, held.bills
    raters, cells = [], []
    for rater, logs in bills.logs.items():
        spent = [cost.rating_cost(facts) for facts in logs.values()]
        train, score = ([pair[i] for pair in spent] for i in (0, 1))
        both = [a + b for a, b in spent]
        pairs = number(next(iter(logs.values()))["pairs"])
        raters.append([rater, pairs, *(_spent(cost.mean(of)) for of in (train, score, both))])
    for cell in study.cells():
        run = held.scores[cell.name]
        images = number(run["checkpoints"][-1]["images"])
        training = [number(run["train_seconds"], 1), _tera(run["train_flops"])]
        cells.append([cell.name, images, *training, number(run["evaluate_seconds"], 1)])
    stages = [
        [name, number(facts["seconds"], 1), _tera(facts.get("flops"))] for name, facts in bills.times.items()
    ]
    return {
        "arms": [{"title": words, "table": _arm_costs(held, point)} for point, words in POINT_WORDS.items()],
        "times": _times(held, "fd"),
        "times_nll": _times(held, "nll"),
        "speedups": _speedups(held),
        "raters": Table(["rater", "pairs rated", "training", "scoring the pool", "together"], raters),
        "stages": Table(["stage", "seconds", "TFLOP"], stages),
        "cells": Table(["cell", "images", "training, s", "training, TFLOP", "evaluation, s"], cells),
    }


def _arm_costs(held: Material, point: str) -> Table:
    """Seconds of every arm with TFLOP in small, and its share of the full data's training."""
    found = cost.costs(held.study, held.bills, point)
    whole = {c.model: c.training.seconds for c in found if c.selection == FULL}
    rows = []
    for c in found:
        parts = (c.encode, c.scorer, c.rating_train, c.rating_score, c.training, c.total)
        shares = [DASH, DASH]
        if c.model in whole:
            shares = [number(100 * v / whole[c.model], 1) for v in (c.training.seconds, c.total.seconds)]
        rows.append([_arm(c.selection, c.ratio), c.model, *map(_spent, parts), *shares])
    head = ["tokenizing", "scorer", "rater's training", "scoring the pool", "training", "rating and training"]
    shares = ["% of full, without rating", "% of full, with rating"]
    return Table(["subset", "model", *head, *shares], rows, left=2)


def _times(held: Material, metric: str) -> list[dict[str, Any]]:
    """Until the final figure of the random subset and of the full data."""
    study, names = held.study, held.scores[held.study.cells()[0].name]["names"]
    out = []
    for goal in (study.baseline, FULL):
        if goal is None:
            continue
        found = [
            t
            for model in study.grid.models
            for t in cost.times_to(study, held.table, held.bills, model, metric, goal)
        ]
        rows = [_time_row(t, metric, names) for t in found]
        head = ["until", "seeds that reach it", "images", "training", "with rating"]
        who = "the full data" if goal == FULL else f"{goal} at the same size"
        title = f"{metric_name(metric, names)} of {who}, as it ends"
        out.append({"title": title, "table": Table(["subset", "model", *head], rows, left=2)})
    return out


def _time_row(t: TimeTo, metric: str, names: Mapping[str, str]) -> list[str]:
    scale, digits = shown(metric, names)
    goal = number(scale * float(np.mean([run.threshold for run in t.runs])), digits)
    images = number(t.images)
    if t.images is not None and any(run.early for run in t.runs):
        images = f"≤ {images}"  # the first checkpoint is that good already
    reached = f"{t.reached} of {len(t.runs)}"
    spent = [_spent(t.training), _spent(t.with_rating)]
    return [_arm(t.selection, t.ratio), t.model, goal, reached, images, *spent]


def _speedups(held: Material) -> Table | None:
    """How much earlier every arm has the random subset's final FD, and when its rating is paid for."""
    study = held.study
    if study.baseline is None:
        return None
    model, rows = study.grid.models[0], []
    sized = {ratio for name, ratio in study.arms() if name == study.baseline}
    for name, ratio in study.arms():
        if name == study.baseline or ratio not in sized or study.reads_truth(name):
            continue
        s = cost.speedup(
            study, held.table, held.bills, name, study.baseline, ratio, model, "fd", held.confidence
        )
        kinds = list(dict.fromkeys(s.bounds.values()))
        factors = [s.images, s.seconds, s.seconds_with_rating, s.flops, s.flops_with_rating]
        counted = all(run.rating.flops is not None for run in (*s.ours, *s.theirs))
        paid = [_paid(s.break_even_seconds), _paid(s.break_even_flops) if counted else DASH]
        rows.append([_arm(name, ratio), ", ".join(kinds), *map(_factor, factors), *paid])
    head = [
        f"{what}, {TIMES}"
        for what in ("images", "seconds", "seconds with rating", "FLOPs", "FLOPs with rating")
    ]
    paid = ["runs until paid, seconds", "runs until paid, FLOPs"]
    return Table(["subset", "read as", *head, *paid], rows, left=2) if rows else None


def _factor(interval: Interval | None) -> str:
    return DASH if interval is None else interval_text(interval, 2, False)


def _paid(runs: BreakEven) -> str:
    """Runs until a rating is paid for; in small from the best to the worst end of the interval."""
    if runs.runs is None:
        return "never"
    if runs.at_best is None and runs.at_worst is None:
        return number(runs.runs)
    ends = ("never" if end is None else number(end) for end in (runs.at_best, runs.at_worst))
    return Markup("{}<small>{} to {}</small>").format(number(runs.runs), *ends)


def _spent(spent: Spent | None) -> str:
    """Seconds, and in small TFLOP where they were counted."""
    if spent is None:
        return DASH
    if spent.tflop is None:
        return f"{number(spent.seconds, 1)} s"
    return Markup("{} s<small>{} TFLOP</small>").format(number(spent.seconds, 1), number(spent.tflop, 2))


def _tera(flops: float | None) -> str:
    return number(None if flops is None else flops / 1e12, 2)


# -------------------------------------------------------------------------------- the paper's page


def _paper(held: Material, figures: dict[str, str]) -> dict[str, Any]:
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
    """The headline selection and random on other pools of ours, which have no partner in Table 3."""
    if held.elsewhere is None:
        return []
    wanted = [name for name in (held.study.baseline, held.study.headline) if name is not None]
    out = []
    keys = ["pool", "ratio", "model", "selection"]
    for _, rows in held.elsewhere.groupby(keys):
        at = rows.iloc[0]
        if at["selection"] not in wanted:
            continue
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
        panels.append(_keep(figures, f"paper-2b-{point}", svg))
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
    return {"panels": [_keep(figures, "paper-3", svg)], "rater": rater, "loss": name}


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
                curve = _curve(held, model, *arm, metric)
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
            panels.append(_keep(figures, f"paper-6-{metric}-{'seconds' if timed else 'images'}", svg))
    return {"panels": panels, "legend": _legend(looks, ratios)}


# ------------------------------------------------------------------------------------- figures


def _keep(figures: dict[str, str], name: str, svg: str) -> Markup:
    """Stores a standalone figure and returns it for the page."""
    figures[name] = svg
    return Markup(report_figures.inline(svg, name))


Curve = tuple[list[float], list[float], list[float], list[float]]


def _curve(held: Material, model: str, selection: str, ratio: float, metric: str) -> Curve:
    """Images, and mean, least and largest figure over the seeds of an arm."""
    found = cost.curves(held.table, selection, ratio, model, metric)
    by_images = pd.DataFrame(found).sort_index()
    means, low, high = by_images.mean(axis=1), by_images.min(axis=1), by_images.max(axis=1)
    return [float(i) for i in by_images.index], means.tolist(), low.tolist(), high.tolist()


def _legend(looks: Mapping[str, tuple[str, str]], ratios: Sequence[float]) -> list[tuple[Markup, str]]:
    """Colours and marks of the selections, the full data first, and dashes of the ratios."""
    legend = [
        (Markup(report_figures.swatch(colour.replace(report_figures.INK, "currentColor"), marker)), name)
        for name, (colour, marker) in sorted(looks.items(), key=lambda item: item[0] != FULL)
    ]
    return legend + [
        (Markup(report_figures.swatch("currentColor", None, report_figures.dashes(i))), share_text(ratio))
        for i, ratio in enumerate(ratios)
    ]


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
                x, mean, low, high = _curve(held, model, *arm, metric)
                colour, marker = looks[arm[0]]
                dash = report_figures.dashes(ratios.index(arm[1])) if arm[0] != FULL else ()
                drawn.append((x, mean, colour, marker, dash))
                if len(study.grid.seeds) > 1:
                    bands.append((x, low, high, colour))
            title = metric_name(metric, names) + (f", {model}" if len(study.models()) > 1 else "")
            svg = report_figures.lines(title, "images seen", drawn, bands)
            panels.append(_keep(figures, f"curve-{number_of}-{metric}", svg))
    return {
        "panels": panels,
        "legend": _legend(looks, ratios),
        "ablation": bool(study.grid.ablation.selections),
    }


def _makeup(held: Material, figures: dict[str, str]) -> dict[str, Any] | None:
    if held.kinds is None:
        return None
    panels = []
    for i, rater in enumerate(held.ratings):
        shares = report_tables.mean_decile_shares(held.ratings[rater], held.kinds)
        panels.append(
            _keep(figures, f"deciles-{i}", report_figures.stacked(str(rater), shares, KIND_COLOURS))
        )
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
                [_arm(*arm), *(number(100 * shares.get(kind, 0.0), 1) for kind in KINDS)]
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
        title = _arm(cell.selection, cell.ratio)
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
            panels.append(_keep(figures, f"rating-{quantity}", svg))
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
        rows.append([_arm(a.selection, a.ratio), drawn, *map(number, counts)])
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
