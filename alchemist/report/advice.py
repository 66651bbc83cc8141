"""The advice in words: what to take, how sure that is, and what it costs. docs/pilot.md has the rule."""

from collections.abc import Sequence
from dataclasses import replace

from alchemist.analysis.advice import Advice, Arm, Beside, Gap, advise
from alchemist.analysis.grid import FULL
from alchemist.analysis.metrics import better, metric_name, shown
from alchemist.analysis.references import WORDS, references
from alchemist.analysis.words import number, percent, several
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.words import interval_text, share_text

PILOT = "pilot"  # the scale of ./study pilot
# Counted by benchmarks/pilot.py over the runs that docs/pilot.md lists.
PILOTS = (
    "Pilots that a longer run followed, three draws of two seeds on composed emoji and one on icons, run "
    "twice, ordered two arms as it did in 93 and 84 to 89 of 100 pairs by FD and in 77 and 91 to 93 by NLL; "
    "FD named the winner in five of five, NLL in two (docs/pilot.md)."
)

VERDICTS = {
    "better": "better",
    "worse": "worse",
    "both": "better in one figure, worse in another",
    "open": "not told apart",
}


def advice_part(material: Material) -> dict[str, object]:
    """The page's section: sentences, and a table of every arm beside what it was compared with."""
    found = advice_of(material)
    names = list(found.resolves)
    head = ["Arm", "Less", *(metric_name(name, material.names) for name in names), "", "Rating, TFLOP"]
    rows = [
        [
            arm_words(one.arm),
            arm_words(one.against),
            *(_gap(material, name, one.gaps[name]) for name in names),
            VERDICTS[one.word],
            number(one.rating.tflop, 1),
        ]
        for one in found.arms
    ]
    return {"sentences": sentences(material, found), "table": Table(head, rows, left=2) if rows else None}


def advice_of(material: Material) -> Advice:
    """The advice of the cells that the page shows; none of a scale whose figures mean nothing."""
    found = advise(material.study, material.table, material.bills, material.confidence)
    if not material.meaningless:
        return found
    return replace(found, arms=(), take=None, level=(), resolves={}, why=material.meaningless)


def sentences(material: Material, found: Advice) -> list[str]:
    """What a person reads, on the page and in the terminal."""
    views = references(material.first)  # the deciding one first; none where all are the same
    by = f", against the reference that decides ({WORDS[next(iter(views))]})" if views else ""
    where = (
        f"This is said of pool {material.params['pool']}, model {found.model} and {number(found.images)} "
        f"images, by {several(found.seeds, 'seed')}{by}."
    )
    if material.params["scale"] == PILOT:
        where = f"{where} {PILOTS}"
    if found.take is None:
        return [f"No advice. {found.why}", where]
    cells = _take(material, found, found.take)
    for word, said in (
        ("better", "Better than {}"),
        ("worse", "Worse than {}"),
        ("both", "Better in one figure and worse in another than {}"),
        ("open", "Not told apart from {}"),
    ):
        for against in dict.fromkeys(one.against for one in found.arms):
            arms = [one.arm for one in found.arms if (one.word, one.against) == (word, against)]
            if arms:
                cells.append(f"{said.format(arm_words(against))}: {_several(arms)}.")
    least = " and ".join(
        f"{_figure(material, name, half)} in {metric_name(name, material.names)}"
        for name, half in found.resolves.items()
    )
    cells.append(
        f"A difference below {least} cannot be told from none here (by {percent(material.confidence)} "
        "intervals that hold for all arms and figures together); more seeds or longer training might."
    )
    return [*cells, where]


def _take(material: Material, found: Advice, take: Beside) -> list[str]:
    """What to take and why, and what could be taken as well."""
    free = (FULL, material.roles.random)
    beside = f"beside {arm_words(take.against)} its " + " and ".join(
        f"{metric_name(figure, material.names)} is {_told(material, figure, gap)}"
        for figure, gap in take.gaps.items()
    )
    others = [arm for arm in found.level if arm != take.arm]
    if take.arm[0] not in free:
        said = [f"Take {arm_words(take.arm)}: {beside}.{_price(take)}"]
        return said + ([f"As good, at a higher cost of rating: {_several(others)}."] if others else [])
    what = "Keep everything" if take.arm[0] == FULL else f"Take {arm_words(take.arm)}"
    rated, same = [a for a in others if a[0] not in free], [a for a in others if a[0] in free]
    if rated:
        why = f"{_several(rated)} cannot be told from it, and it costs no rating"
    elif take.word == "better":
        why = beside
    else:
        why = "no selection is better, that this run could tell, than a random subset of its size"
    return [f"{what}: {why}."] + (
        [f"As good, as far as this run can tell: {_several(same)}."] if same else []
    )


def _price(take: Beside) -> str:
    rating, training = take.rating, take.training
    if rating.flops is not None and training.flops:
        if rating.flops == 0:
            return " Its rating takes next to nothing."
        share = number(rating.flops / training.flops, 2)
        return f" Its rating takes {number(rating.tflop, 1)} TFLOP, {share} times one such training run."
    return f" Its rating takes {number(rating.seconds)} s, a training run {number(training.seconds)} s."


def arm_words(arm: Arm) -> str:
    """An arm in a sentence."""
    name, ratio = arm
    return "everything" if name == FULL else name if ratio == 1 else f"{name} at {share_text(ratio)}"


def _several(arms: Sequence[Arm]) -> str:
    return ", ".join(arm_words(arm) for arm in arms)


def _told(material: Material, name: str, gap: Gap) -> str:
    """A difference with its interval, and which way it goes."""
    way = "lower" if gap.mean < 0 else "higher"
    ends = sorted((abs(gap.low), abs(gap.high))) if gap.low * gap.high > 0 else None
    size = _figure(material, name, abs(gap.mean))
    if ends is None:
        return f"{way} by {size}, which is not told from none"
    low, high = (_figure(material, name, end) for end in ends)
    side = "" if better(name) * gap.mean > 0 else ", which is worse"
    return f"{way} by {size} [{low} to {high}]{side}"


def _figure(material: Material, name: str, value: float) -> str:
    scale, digits = shown(name, material.names)
    return number(scale * value, digits)


def _gap(material: Material, name: str, gap: Gap) -> str:
    scale, digits = shown(name, material.names)
    return interval_text(gap, digits, scale=scale)
