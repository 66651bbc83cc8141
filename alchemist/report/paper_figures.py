"""The paper's figures 2b, 3 and 6 from our cells, where the grid has what they need."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from alchemist.analysis.cost import costs
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name
from alchemist.analysis.results import Result
from alchemist.analysis.words import POINTS
from alchemist.pruning.block import Block
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.meta import MetaRater
from alchemist.report.chart import Chart, colours_of
from alchemist.report.elements import add, arm_colours, curve_of
from alchemist.report.makeup import loss_bands
from alchemist.report.material import Material
from alchemist.report.words import SAMPLERS, share_text

TIMED = ("fd", "nll")  # of figure 6, as far as the models have them
Found = Mapping[tuple[str, str], Mapping[tuple[str, float], Result]]


def figure_2b(material: Material, found: Found, charts: dict[str, Chart]) -> dict[str, Any] | None:
    """FD against the first rank of a contiguous block, the other samplers as level lines."""
    study, names = material.study, material.names
    blocks: dict[tuple[str, float], dict[float, str]] = {}
    for name, ratio in study.arms():
        chosen = study.selections[name]
        if (
            isinstance(chosen, Block)
            and chosen.start is not None
            and isinstance(study.raters[chosen.rater], MetaRater)
        ):
            blocks.setdefault((chosen.rater, ratio), {})[chosen.start] = name
    (rater, ratio), starts = max(blocks.items(), key=lambda item: len(item[1]), default=(("", 0.0), {}))
    if len(starts) < 2:
        return None
    model = study.grid.main
    beside = {
        SAMPLERS[chosen.sampler]: name
        for name, share in reversed(study.arms())
        if share == ratio
        and (chosen := study.selections[name]).sampler in ("topk", "gsample", "shift_gsample", "random")
        and (chosen.rater == rater or chosen.sampler == "random")
    }
    blocks_of = f"blocks of {share_text(ratio)} by {rater}"
    panels = []
    for point, words in POINTS.items():
        rows = found[model, point]
        drawn = [_at(blocks_of, "block", start, rows[starts[start], ratio]) for start in sorted(starts)]
        for label, name in sorted(beside.items()):
            drawn += [
                _at(label, "whole law", start, rows[name, ratio]) for start in (min(starts), max(starts))
            ]
        fd = metric_name("fd", names)
        chart = Chart(
            "lines", f"{fd}, {words}", pd.DataFrame(drawn), "start",
            "first rank of the block, % of the pool, 0 = best", fd, colours_of([blocks_of, *sorted(beside)]),
        )  # fmt: skip
        panels.append(add(charts, f"paper-2b-{point}", chart))
    return {"panels": panels}


def _at(who: str, what: str, start: float, row: Result) -> dict[str, Any]:
    """A point of a line: the mean of FD, and mean ± sd; without width for one seed."""
    stat = row.figures["fd"]
    sd = stat.sd or 0.0
    ends = {"mean": stat.mean, "low": stat.mean - sd, "high": stat.mean + sd}
    return {"selection": who, "keeps": what, "start": start, **ends}


def figure_3(material: Material, charts: dict[str, Chart]) -> dict[str, Any] | None:
    """Mean loss of a plain proxy by decile of the paper's rating, from the loss rater's table."""
    study, ours = material.study, material.roles.nearest
    rater = study.selections[ours].rater if ours is not None else None
    by = study.grid.rated_by(rater) if rater is not None else None
    losses_of = [(n, s) for n, s in study.raters.items() if study.grid.rated_by(n) == by]
    plain = next(((n, s) for n, s in losses_of if isinstance(s, LossRater)), None)
    if rater is None or plain is None:
        return None
    name, settings = plain
    # A rating is the measure times its direction, which is 1 or -1.
    losses = {seed: rating * settings.direction for seed, rating in material.ratings[name].items()}
    bands = loss_bands(material.ratings[rater], losses)
    spread = {"mean": bands.mean(axis=1), "low": bands.min(axis=1), "high": bands.max(axis=1)}
    rows = pd.DataFrame(spread).rename_axis("decile").reset_index().assign(selection=name, keeps="the pool")
    loss = f"loss of the plain proxy{material.loss_unit(str(by))}"
    title = f"Loss of the plain proxy by decile of {rater}"
    chart = Chart("lines", title, rows, "decile", "decile of the rating, 1 = best", loss, colours_of([name]))
    return {"panels": [add(charts, "paper-3", chart)], "rater": rater, "loss": name}


def figure_6(material: Material, found: Found, charts: dict[str, Chart]) -> dict[str, Any] | None:
    """FD and NLL against images and seconds with the rating, of the paper's selection and of random."""
    study, names = material.study, material.names
    who = [name for name in (material.roles.nearest, material.roles.random) if name is not None]
    if not who:
        return None
    model, ratios = study.grid.main, sorted(study.grid.ratios, reverse=True)
    spent = {
        (c.selection, c.ratio): c for c in costs(study, material.bills, "equal_images") if c.model == model
    }
    arms = [(FULL, 1.0), *((name, ratio) for ratio in ratios for name in who)]
    panels = []
    for metric in [name for name in TIMED if name in material.metrics_of(model)]:
        for timed in (False, True):
            drawn = []
            for arm in arms:
                rows = curve_of(material, model, *arm, metric)
                if timed:
                    bill = spent[arm]
                    done = found[model, "equal_images"][arm].images
                    rating = bill.rating.seconds if bill.rating is not None else 0.0
                    rows["seconds"] = rating + bill.training.seconds * rows["images"] / done
                drawn.append(rows)
            x, label = ("seconds", "seconds of training and rating") if timed else ("images", "images seen")
            name = metric_name(metric, names)
            every = pd.concat(drawn, ignore_index=True)
            chart = Chart(
                "lines", f"{name} against {label}", every, x, label, name, arm_colours(material, every)
            )
            panels.append(add(charts, f"paper-6-{metric}-{x}", chart))
    return {"panels": panels}
