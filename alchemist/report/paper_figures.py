"""The paper's figures 2b, 3 and 6 from our cells, where the grid has what they need."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from alchemist.analysis.cost import costs
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name
from alchemist.analysis.results import Result, Stat
from alchemist.analysis.words import POINTS
from alchemist.pruning.block import Block
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.meta import MetaRater
from alchemist.report import figures as draw
from alchemist.report.elements import add_figure, curve_of, legend_of
from alchemist.report.figures import Band, Line
from alchemist.report.makeup import loss_bands
from alchemist.report.material import Material
from alchemist.report.words import SAMPLERS, share_text

TIMED = ("fd", "nll")  # of figure 6, as far as the models have them
Found = Mapping[tuple[str, str], Mapping[tuple[str, float], Result]]


def figure_2b(material: Material, found: Found, figures: dict[str, str]) -> dict[str, Any] | None:
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
    looks = {label: draw.look(i + 1)[0] for i, label in enumerate(sorted(beside))}
    block_look = draw.look(0)
    panels = []
    x = sorted(starts)
    for point, words in POINTS.items():
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
        svg = draw.lines(title, "first rank of the block, % of the pool, 0 = best", drawn, bands)
        panels.append(add_figure(figures, f"paper-2b-{point}", svg))
    legend = [(Markup(draw.swatch(*block_look)), f"blocks of {share_text(ratio)} by {rater}")]
    legend += [(Markup(draw.swatch(looks[k], None, (5, 2))), k) for k in sorted(beside)]
    return {"panels": panels, "legend": legend}


def _band(x: Sequence[float], stats: Sequence[Stat], colour: str) -> Band:
    """Mean ± sd; without width for one seed."""
    low = [stat.mean - (stat.sd or 0.0) for stat in stats]
    return x, low, [stat.mean + (stat.sd or 0.0) for stat in stats], colour


def figure_3(material: Material, figures: dict[str, str]) -> dict[str, Any] | None:
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
    x, colour = bands.index.tolist(), draw.look(0)
    drawn: list[Line] = [(x, bands.mean(axis=1).tolist(), *colour, ())]
    spread: list[Band] = [(x, bands.min(axis=1).tolist(), bands.max(axis=1).tolist(), colour[0])]
    title = f"Loss of the plain proxy by decile of {rater}{material.loss_unit(str(by))}"
    svg = draw.lines(title, "decile of the rating, 1 = best", drawn, spread)
    return {"panels": [add_figure(figures, "paper-3", svg)], "rater": rater, "loss": name}


def figure_6(material: Material, found: Found, figures: dict[str, str]) -> dict[str, Any] | None:
    """FD and NLL against images and seconds with the rating, of the paper's selection and of random."""
    study, names = material.study, material.names
    who = [name for name in (material.roles.nearest, material.roles.random) if name is not None]
    if not who:
        return None
    model, ratios = study.grid.main, sorted(study.grid.ratios, reverse=True)
    spent = {
        (c.selection, c.ratio): c for c in costs(study, material.bills, "equal_images") if c.model == model
    }
    looks = {name: draw.look(i) for i, name in enumerate(who)} | {FULL: (draw.INK, "o")}
    arms = [(FULL, 1.0), *((name, ratio) for ratio in ratios for name in who)]
    panels = []
    for metric in [name for name in TIMED if name in material.metrics_of(model)]:
        for timed in (False, True):
            drawn: list[Line] = []
            for arm in arms:
                curve = curve_of(material, model, *arm, metric)
                x = curve[0]
                if timed:
                    bill = spent[arm]
                    done = found[model, "equal_images"][arm].images
                    rating = bill.rating.seconds if bill.rating is not None else 0.0
                    x = [rating + bill.training.seconds * images / done for images in x]
                dash = () if arm[0] == FULL else draw.dashes(ratios.index(arm[1]))
                drawn.append((x, curve[1], *looks[arm[0]], dash))
            label = "seconds of training and rating" if timed else "images seen"
            svg = draw.lines(metric_name(metric, names), label, drawn)
            panels.append(add_figure(figures, f"paper-6-{metric}-{'seconds' if timed else 'images'}", svg))
    return {"panels": panels, "legend": legend_of(looks, ratios)}
