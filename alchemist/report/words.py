"""The report's words and numbers: what was run and what came out, by rules that the figures decide."""

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from alchemist.analysis import results as report
from alchemist.analysis.results import FULL, METRICS, Result, Stat
from alchemist.analysis.statistics import Contrast, Interval
from alchemist.report.material import Material

MINUS, DASH, TIMES = "\N{MINUS SIGN}", "\N{EN DASH}", "\N{MULTIPLICATION SIGN}"
SAMPLERS = {
    "full": "all pairs",
    "random": "at random",
    "topk": "Top-K",
    "block": "block",
    "gsample": "Gsample",
    "shift_gsample": "Shift-Gsample",
}
POINT_WORDS = {"equal_epochs": "equal epochs", "equal_images": "equal images"}
NETWORKS = {
    "fd_lite0": "EfficientNet-Lite0 features (ImageNet weights)",
    "fid_pytorch": "Inception features, as pytorch-fid computes it",
}


def number(value: float | None, digits: int = 0, sign: bool = False) -> str:
    """A number with thousands marked and a true minus; a dash where there is none."""
    if value is None or math.isnan(value):
        return DASH
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    if not text.strip("+-0.,"):
        text = text.lstrip("+-")  # no minus zero
    return text.replace("-", MINUS).replace("inf", "\N{INFINITY}")


def told(stat: Stat, digits: int, sign: bool = False, scale: float = 1.0) -> str:
    """A mean, with its standard deviation over seeds where there is more than one seed."""
    text = number(scale * stat.mean, digits, sign)
    return text if stat.sd is None else f"{text} ± {number(scale * stat.sd, digits)}"


def interval_text(interval: Interval, digits: int, sign: bool = True, scale: float = 1.0) -> str:
    """A mean and in brackets the ends of its interval."""
    mean, low, high = (number(scale * v, digits, sign) for v in (interval.mean, interval.low, interval.high))
    return f"{mean} [{low}, {high}]"


def p_text(p: float | None) -> str:
    """A p value to three digits; a dash where there is none."""
    return "< 0.001" if p is not None and p < 0.0005 else number(p, 3)


def share_text(ratio: float) -> str:
    """A ratio in percent, on one line."""
    return f"{100 * ratio:g}\N{NO-BREAK SPACE}%"


def story(held: Material) -> list[str]:
    """What was found of the claims, what was run, what came out. One seed gets no interval."""
    study, grid, cells = held.study, held.study.grid, held.study.cells()
    first, side = held.scores[cells[0].name], held.pool_card["resolution"]
    budget = first["checkpoints"][-1]
    ratios = sorted(grid.ratios, reverse=True)
    sizes = {cell.model: held.scores[cell.name]["parameters"] for cell in cells}
    models = ", ".join(f"{model} with {count / 1e6:.2f} M parameters" for model, count in sizes.items())
    ids = len(next(iter(next(iter(held.ratings.values())).values())))
    more = ""
    if grid.ablation.selections:
        shares = " or ".join(map(share_text, sorted(grid.ablation.ratios, reverse=True)))
        more = f", and {_several(len(grid.ablation.selections), 'further one')} {shares}"
    ran = (
        f"The pool {held.params['pool']} holds {number(ids)} usable pairs of {side} {TIMES} "
        f"{side} pixels. {_several(len(grid.selections), 'selection')} ({', '.join(grid.selections)}) kept "
        f"{' or '.join(map(share_text, ratios))} of it{more}. On each subset and on the full pool a "
        f"generator was trained from scratch ({models}; {_several(len(grid.seeds), 'seed')}, so {len(cells)} "
        f"cells) on at most {number(budget['images'])} images (scale {held.params['scale']}), which are "
        f"{number(budget['epochs'], 2)} epochs of the full pool. At each checkpoint it drew "
        f"{number(first['n'])} images for held-out captions, measured against {number(first['reference_n'])} "
        "real ones."
    )
    spread = (
        "There is one seed a cell, so no figure has an interval, and a small difference may be chance."
        if len(grid.seeds) == 1
        else f"Figures are mean ± sd of n = {len(grid.seeds)} seeds; differences are paired by seed."
    )
    out = [f"{ran} {spread}"]
    if len(grid.seeds) > 1:
        out.insert(0, " ".join([_claims(held), *(_primary(held, c) for c in held.contrasts if c.primary)]))
    if study.headline is not None:
        out += [_outcome(held, study.headline, ratio) for ratio in ratios]
    return out


VERDICTS = ("supported", "not supported", "undecided", "not tested")


def _claims(held: Material) -> str:
    """The paper's claims by verdict, in plain words."""
    parts = []
    for word in VERDICTS:
        said = [f"{v.claim} ({v.sentence.rstrip('.')})" for v in held.verdicts if v.verdict == word]
        if said:
            parts.append(f"{word}: {'; '.join(said)}")
    return (
        f"What holds of the paper's claims on pool {held.params['pool']} at scale {held.params['scale']}, by "
        f"{percent(held.confidence)} intervals over n = {len(held.study.grid.seeds)} seeds. "
        f"{'. '.join(part[0].upper() + part[1:] for part in parts)}."
    )


def _primary(held: Material, contrast: Contrast) -> str:
    names = held.scores[held.study.cells()[0].name]["names"]
    scale, digits = shown(contrast.metric, names)
    side = contrast.favours
    return (
        f"The primary contrast, named before the run, is {contrast_text(contrast, names)}: "
        f"{interval_text(contrast.interval, digits, True, scale)} (n = {contrast.interval.n}), "
        f"{'which decides for neither side' if side is None else f'in favour of {side}'}."
    )


def contrast_text(contrast: Contrast, names: Mapping[str, str]) -> str:
    """What a contrast compares, in words."""
    return (
        f"{metric_name(contrast.metric, names)} of {contrast.arm} less {contrast.against}, "
        f"{share_text(contrast.ratio)}, model {contrast.model}, {POINT_WORDS[contrast.point]}"
    )


def percent(share: float) -> str:
    """A share in percent with a space, as prose writes it."""
    return f"{100 * share:g} %"


def _outcome(held: Material, name: str, ratio: float) -> str:
    """The headline method at one ratio for the first model, beside full data and random, and the best NLL."""
    study, model = held.study, held.study.grid.models[0]
    names = held.scores[study.cells()[0].name]["names"]
    parts, lowest = [], {}
    for point, words in POINT_WORDS.items():
        rows = {(r.selection, r.ratio): r for r in report.results(study, held.table, model, point)}
        beside = {"full data": rows[FULL, 1.0]}
        if study.baseline is not None:
            beside["random"] = rows[study.baseline, ratio]
        said = []
        for metric in ("fd", "clip", "nll"):
            others = ", ".join(f"{who} {figure(row, metric, names)}" for who, row in beside.items())
            said.append(f"{metric_name(metric, names)} {figure(rows[name, ratio], metric, names)} ({others})")
        parts.append(f"at {words} it has {', '.join(said[:-1])} and {said[-1]}")
        methods = [r for r in rows.values() if r.ratio == ratio and not study.reads_truth(r.selection)]
        lowest[words] = min(methods, key=lambda row: row.figures["nll"].mean)
    best = "; ".join(f"at {w} {row.selection} ({figure(row, 'nll', names)})" for w, row in lowest.items())
    settings = study.selections[name]
    which = f", model {model}" if len(study.grid.models) > 1 else ""
    return (
        f"{SAMPLERS[settings.sampler]} on the rating {settings.rater}, keeping {share_text(ratio)}{which}: "
        f"{'; '.join(parts)}. Lowest NLL at this size among selections that do not see planted truth: {best}."
    )


def caveats(held: Material) -> list[str]:
    """Which figures carry weight at this scale, and which do not."""
    first = held.scores[held.study.cells()[0].name]
    names, floors = first["names"], first["floors"]
    ends = held.table[held.table["point"] == "equal_images"]["fd"]
    low, high = number(ends.min(), 1), number(ends.max(), 1)
    fd = metric_name("fd", names)
    if names["fd"] == "fid_pytorch":
        out = [f"{fd} equals pytorch-fid; clean-fid's own resizing would give other values."]
    else:
        network = NETWORKS.get(names["fd"], names["fd"])
        out = [f"{fd} is the Fréchet distance on {network}: it is not FID and cannot be compared with FID."]
    if "fd_reconstruction" in floors:
        real, rebuilt = number(floors[names["fd"]], 1), number(floors["fd_reconstruction"], 1)
        out.append(
            f"At this n, real images against real ones score {real}, and {rebuilt} once they have passed the "
            f"tokenizer; the cells end between {low} and {high}. Where the tokenizer's own "
            "part is large, plain FD mostly measures the tokenizer; FD against tokenised "
            "references shows what the generator itself adds."
        )
    out.append(
        "NLL, the loss in nats a token on held-out clean pairs, has no sampling noise and so resolves the "
        "smallest differences between arms. It exists for autoregressive models alone, and clean held-out "
        "pairs favour, by construction, selections that keep clean pairs."
    )
    if len(held.study.grid.seeds) > 1:
        out.append(f"Range of the arms' means, and largest sd over seeds of an arm: {_resolution(held)}.")
    return out


def _resolution(held: Material) -> str:
    """How far apart the arms are, beside how far apart the seeds of one arm are."""
    names = held.scores[held.study.cells()[0].name]["names"]
    here = held.table[held.table["point"] == "equal_images"]
    by_arm = here[here["model"] == held.study.grid.models[0]].groupby(["selection", "ratio"])
    parts = []
    for metric in METRICS:
        scale, digits = shown(metric, names)
        means, spread = by_arm[metric].mean(), by_arm[metric].std(ddof=1).max()
        apart = number(scale * float(means.max() - means.min()), digits)
        parts.append(f"{metric_name(metric, names)} {apart} and {number(scale * float(spread), digits)}")
    return "; ".join(parts)


def metric_name(metric: str, names: Mapping[str, str]) -> str:
    """A figure's name on the page."""
    network = {"fd_lite0": "FD (Lite0)", "fid_pytorch": "FID (pytorch-fid)"}.get(names["fd"], names["fd"])
    clip = {"clip_lit": "CLIP-Score (LiT)"}.get(
        names["clip"], f"CLIP-Score ({names['clip'].removeprefix('clip_')})"
    )
    return {
        "fd": network,
        "fd_tokenized": f"{network}, tokenised references",
        "kid": f"KID {TIMES} 1000",
        "clip": clip,
        "nll": "NLL",
    }[metric]


def hundredfold(clip: str) -> bool:
    """Whether a CLIP-Score is 100 x cosine, as LiT's is; a published model's is the raw cosine."""
    return clip == "clip_lit"


def shown(metric: str, names: Mapping[str, str]) -> tuple[float, int]:
    """Factor and digits of a figure on the page."""
    scale = 1000 if metric == "kid" else 1
    clip = 2 if hundredfold(names["clip"]) else 4
    return scale, {"fd": 1, "fd_tokenized": 1, "kid": 1, "clip": clip, "nll": 3}[metric]


def shown_unit(unit: str, names: Mapping[str, str]) -> tuple[float, int, bool]:
    """Factor, digits and whether a sign is written, of a part's unit: a metric or another quantity."""
    if unit in METRICS:
        return (*shown(unit, names), True)
    others = {"percentile": (1.0, 1, True), "share": (100.0, 1, True), "rank correlation": (1.0, 3, False)}
    return others.get(unit, (1.0, 2, False))


def unit_name(unit: str, names: Mapping[str, str]) -> str:
    """A part's unit on the page."""
    return metric_name(unit, names) if unit in METRICS else {"share": "%"}.get(unit, unit)


def figure(row: Result, metric: str, names: Mapping[str, str]) -> str:
    """A figure of a result as the page writes it."""
    scale, digits = shown(metric, names)
    return told(row.figures[metric], digits, scale=scale)


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def flat(value: Any, where: str = "") -> Iterable[tuple[str, str]]:
    """Dotted keys and values of nested blocks, in their order."""
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from flat(item, f"{where}.{key}" if where else str(key))
    else:
        yield where, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
