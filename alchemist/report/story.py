"""The page's first paragraphs: what was run and what came out, by rules that the figures decide."""

from alchemist.analysis.codec_verdict import verdict
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import metric_name, of_model, shown
from alchemist.analysis.statistics import Contrast
from alchemist.analysis.words import POINTS, TIMES, capital, number, percent, several
from alchemist.core.settings.model import classes
from alchemist.report.material import Material
from alchemist.report.words import SAMPLERS, contrast_text, figure, interval_text, share_text

NETWORKS = {
    "fd_lite0": "EfficientNet-Lite0 features (ImageNet weights)",
    "fid_pytorch": "Inception features, as pytorch-fid computes it",
}
VERDICTS = ("supported", "not supported", "undecided", "not tested")
QUOTED = ("fd", "clip", "nll")  # as far as the models have them


def story(material: Material) -> list[str]:
    """What was found of the claims, what was run, what came out. One seed gets no interval."""
    grid, cells = material.study.grid, material.study.cells()
    first, side = material.first, material.pool_card["resolution"]
    budget, adapted = first["checkpoints"][-1], material.pretrained
    ratios = sorted(grid.ratios, reverse=True)
    sizes = material.parameters
    many = len(material.families) > 1
    of = {model: f" of the family {grid.family_of(model)}" if many else "" for model in sizes}
    models = ", ".join(
        f"{model}{of[model]} with {count / 1e6:.2f} M parameters" for model, count in sizes.items()
    )
    ids = len(next(iter(next(iter(material.ratings.values())).values())))
    more = ""
    if grid.ablation.selections:
        shares = " or ".join(map(share_text, sorted(grid.ablation.ratios, reverse=True)))
        more = f", and {several(len(grid.ablation.selections), 'further one')} {shares}"
    ran = (
        f"The pool {material.params['pool']} holds {number(ids)} usable pairs of {side} {TIMES} "
        f"{side} pixels. {several(len(grid.selections), 'selection')} ({', '.join(grid.selections)}) kept "
        f"{' or '.join(map(share_text, ratios))} of it{more}. On each subset and on the full pool a "
        f"generator was trained{'' if adapted else ' from scratch'} ({models}; "
        f"{several(len(grid.seeds), 'seed')}, so {len(cells)} "
        f"cells) on at most {number(budget['images'])} images (scale {material.params['scale']}), which are "
        f"{number(budget['epochs'], 2)} epochs of the full pool{_other_budgets(material)}. "
        f"{_adapted(material)}At each checkpoint it drew "
        f"{number(first['n'])} images for held-out captions, measured against {number(first['reference_n'])} "
        "real ones."
    )
    spread = (
        "There is one seed a cell, so no figure has an interval, and a small difference may be chance."
        if len(grid.seeds) == 1
        else f"Figures are mean ± sd of n = {len(grid.seeds)} seeds; differences are paired by seed."
    )
    out = [f"{ran} {spread}{_other_ratings(material)}"]
    if len(grid.seeds) > 1:
        primary = [] if material.primary is None else [_primary(material, material.primary)]
        out.insert(0, " ".join([_claims(material), *primary]))
    ours = material.roles.nearest
    if ours is not None:
        out += [_outcome(material, ours, ratio) for ratio in ratios]
    return out


def _other_budgets(material: Material) -> str:
    """What models see whose budget is not that of the first; nothing where there are none."""
    images = {
        cell.model: material.scores[cell.name]["checkpoints"][-1]["images"] for cell in material.study.cells()
    }
    first = next(iter(images.values()))
    return "".join(f"; {model} on {number(seen)}" for model, seen in images.items() if seen != first)


def _adapted(material: Material) -> str:
    """What the networks were trained on whose adapters cells train; nothing where there are none."""
    return "".join(
        f"Cells of {model} train adapters alone, on a network that was trained once, on "
        f"{number(facts['images'])} images of {number(facts['pairs'])} pairs of a neutral split. "
        for model, facts in material.pretrained.items()
    )


def _other_ratings(material: Material) -> str:
    """Which selections rest on ratings of another family than that of the first model; nothing where none."""
    grid, said = material.study.grid, []
    for family in [name for name in grid.families if name != grid.family_of(grid.main)]:
        names = [name for name in grid.chosen() if material.study.rated_by(name) == family]
        if names:
            said.append(f" Rated by a proxy of the family {family}: {', '.join(names)}.")
    return "".join(said)


def _claims(material: Material) -> str:
    """The paper's claims by verdict, in plain words."""
    parts = []
    for word in VERDICTS:
        said = [f"{v.claim} ({v.sentence.rstrip('.')})" for v in material.verdicts if v.verdict == word]
        if said:
            parts.append(f"{word}: {'; '.join(said)}")
    return (
        f"What holds of the paper's claims on pool {material.params['pool']} at scale "
        f"{material.params['scale']}, by {percent(material.confidence)} intervals over "
        f"n = {len(material.study.grid.seeds)} seeds. "
        f"{'. '.join(map(capital, parts))}."
    )


def _primary(material: Material, contrast: Contrast) -> str:
    names = material.names
    scale, digits = shown(contrast.metric, names)
    side = contrast.favours
    return (
        f"The primary contrast, named before the run, is {contrast_text(contrast, names)}: "
        f"{interval_text(contrast.interval, digits, True, scale)} (n = {contrast.interval.n}), "
        f"{'which decides for neither side' if side is None else f'in favour of {side}'}."
    )


def _outcome(material: Material, name: str, ratio: float) -> str:
    """A selection at one ratio for the first model, beside full data and random, and the best NLL."""
    study, names, model = material.study, material.names, material.study.grid.main
    quoted = [metric for metric in QUOTED if metric in material.metrics_of(model)]
    random = material.roles.random
    parts, lowest = [], {}
    for point, words in POINTS.items():
        rows = {(r.selection, r.ratio): r for r in material.results(model, point)}
        beside = {"full data": rows[FULL, 1.0]}
        if random is not None:
            beside["random"] = rows[random, ratio]
        said = []
        for metric in quoted:
            others = ", ".join(f"{who} {figure(row, metric, names)}" for who, row in beside.items())
            said.append(f"{metric_name(metric, names)} {figure(rows[name, ratio], metric, names)} ({others})")
        parts.append(f"at {words} it has {', '.join(said[:-1])} and {said[-1]}")
        if "nll" in quoted:
            methods = [r for r in rows.values() if r.ratio == ratio and not study.reads_truth(r.selection)]
            lowest[words] = min(methods, key=lambda row: row.figures["nll"].mean)
    settings = study.selections[name]
    which = f", model {model}" if len(study.grid.whole()) > 1 else ""
    told = (
        f"{SAMPLERS[settings.sampler]} on the rating {settings.rater}, keeping {share_text(ratio)}{which}: "
        f"{'; '.join(parts)}."
    )
    if not lowest:
        return told
    best = "; ".join(f"at {w} {row.selection} ({figure(row, 'nll', names)})" for w, row in lowest.items())
    return f"{told} Lowest NLL at this size among selections that do not see planted truth: {best}."


def caveats(material: Material) -> list[str]:
    """Which figures carry weight at this scale, and which do not."""
    names = material.names
    fd = metric_name("fd", names)
    if names["fd"] == "fid_pytorch":
        out = [f"{fd} equals pytorch-fid; clean-fid's own resizing would give other values."]
    else:
        network = NETWORKS.get(names["fd"], names["fd"])
        out = [f"{fd} is the Fréchet distance on {network}: it is not FID and cannot be compared with FID."]
    codecs = [_codec_part(material, family) for family in material.families]
    if any(codecs):
        out.append(
            f"{' '.join(codecs)} Where the image codec's own "
            "part is large, plain FD mostly measures the image codec; FD against references through the "
            "image codec shows what the generator itself adds."
        )
    if material.silent:
        out.append(material.silent)
    units = {family: material.first_of(family)["likelihood"] for family in material.families}
    if "nll" in material.metrics:
        unit = next(unit for unit in units.values() if unit is not None)
        out.append(
            f"NLL, the loss in {unit} on the held-out pairs that decide, has no sampling noise "
            "and so resolves the smallest differences between arms. It exists for models with a likelihood "
            "alone, and where those pairs are clean, it favours, by construction, selections that keep clean "
            "ones."
        )
        without = [family for family, unit in units.items() if unit is None]
        if without:
            out.append(
                f"Models of the family {' and '.join(without)} have no likelihood: their tables have no NLL, "
                "and figures of NLL leave them out."
            )
    if len(material.study.grid.seeds) > 1:
        out.append(f"Range of the arms' means, and largest sd over seeds of an arm: {_resolution(material)}.")
    return out


def _codec_part(material: Material, family: str) -> str:
    """What real images score without and with a family's codec, beside its cells; empty where unknown."""
    floors, grid = material.first_of(family)["floors"], material.study.grid
    if "fd_reconstruction" not in floors:
        return ""
    table = material.table[material.table["point"] == "equal_images"]
    ends = table.loc[[grid.family_of(model) == family for model in table["model"]], "fd"]
    low, high = number(ends.min(), 1), number(ends.max(), 1)
    real, rebuilt = number(floors[material.names["fd"]], 1), number(floors["fd_reconstruction"], 1)
    which = f" of the family {family}" if len(material.families) > 1 else ""
    return (
        f"At this n, real images against real ones score {real}, and {rebuilt} once they have passed the "
        f"image codec{which}; {'its' if which else 'the'} cells end between {low} and {high}. "
        f"{verdict(floors, material.names['fd'], classes(family).CODEC.remedy)}"
    ).strip()


def _resolution(material: Material) -> str:
    """How far apart the arms are, beside how far apart the seeds of one arm are."""
    names = material.names
    here = material.table[material.table["point"] == "equal_images"]
    model = material.study.grid.main
    by_arm = of_model(here, model).groupby(["selection", "ratio"])
    parts = []
    for metric in material.metrics_of(model):
        scale, digits = shown(metric, names)
        means, spread = by_arm[metric].mean(), by_arm[metric].std(ddof=1).max()
        apart = number(scale * float(means.max() - means.min()), digits)
        parts.append(f"{metric_name(metric, names)} {apart} and {number(scale * float(spread), digits)}")
    return "; ".join(parts)
