"""A plan as a person reads it, in 100 columns."""

import textwrap
from dataclasses import dataclass

from alchemist.core.settings.plan import CardSettings
from alchemist.plan import cost
from alchemist.plan.jobs import Group
from alchemist.plan.pairs import Pairs
from alchemist.plan.returns import Return
from alchemist.plan.work import Work

COLUMNS = 100
WHAT = 26  # columns of a kind of work


@dataclass(frozen=True)
class Plan:
    """What stands in the table and in the JSON."""

    title: str
    pairs: Pairs | None
    card: CardSettings
    groups: list[Group]
    work: list[Work]
    returns: list[Return]
    missing: list[str]


def lines(plan: Plan) -> list[str]:
    """The whole table; what a line says at most is 100 columns wide."""
    out = [*_wrapped(plan.title, ""), ""]
    out += [f"{'stage':<20}{'done':>6}{'runs':>6}{'follows':>9}  why"]
    for group in plan.groups:
        why = _why(group)
        start = f"{group.name:<20}{group.done:>6}{group.runs:>6}{group.follows:>9}  "
        out += textwrap.wrap(why, COLUMNS, initial_indent=start, subsequent_indent=" " * len(start)) or [
            start.rstrip()
        ]
    total = [sum(getattr(group, key) for group in plan.groups) for key in ("done", "runs", "follows")]
    out += [f"{'all':<20}{total[0]:>6}{total[1]:>6}{total[2]:>9}", ""]
    if plan.work:
        out += _work(plan)
    if plan.returns:
        out += ["A rating pays for itself, if its subset is as good as the full data at equal epochs:"]
        for one in plan.returns:
            out += _wrapped(_return(one, plan.card), "  ")
        out.append("")
    out += ["Missing:"] if plan.missing else ["Nothing is missing."]
    for sentence in plan.missing:
        out += _wrapped(sentence, "  ")
    return out


def _wrapped(words: str, indent: str) -> list[str]:
    return textwrap.wrap(words, COLUMNS, initial_indent=indent, subsequent_indent=indent + "  ")


def _why(group: Group) -> str:
    """Reasons in a line: what happened to how many cells, and to what."""
    count = group.done + group.runs + group.follows
    told: dict[tuple[str, int], list[str]] = {}
    for reason, cells in group.reasons.items():
        what, _, word = reason.rpartition(" ")
        both = ("after", word) if what == "after" else (reason, "")
        if word == "changed" and " " not in what:
            both = "changed", what
        told.setdefault((both[0], cells), []).append(both[1])
    if len(after := told.get(("after", count), [])) > 4:
        told["after", count] = [f"{len(after)} of the stages above"]
    return "; ".join(
        f"{word} {', '.join(names)}".rstrip() + (f" ({cells} of {count})" if cells < count else "")
        for (word, cells), names in told.items()
    )


def _work(plan: Plan) -> list[str]:
    card = plan.card
    out = [
        f"{'would run':<{WHAT}}{'cells':>6}{'images':>14}{'steps':>11}{'FLOP':>9}{'hours':>9}"
        f"{card.currency:>9}{'disk':>8}{'memory':>8}"
    ]
    flops = disk = 0.0
    for one in plan.work:
        flops, disk = flops + (one.flops or 0.0), disk + one.disk
        out.append(
            f"{one.what[: WHAT - 1]:<{WHAT}}{one.cells:>6}{one.images:>14,}"
            f"{'-' if not one.steps else f'{one.steps:,}':>11}{_spent(one.flops, card)}"
            f"{_bytes(one.disk):>8}{_bytes(one.memory):>8}"
        )
    out.append(f"{'all':<{WHAT}}{'':>6}{'':>14}{'':>11}{_spent(flops, card)}{_bytes(disk):>8}")
    words = (
        f"Hours are those of one {card.name} at {card.utilisation:.0%} of {card.tflops:g} TFLOP/s of bf16; "
        "-: not counted (processors). Captions are counted at their full length; memory is that of the cell "
        "that takes most."
    )
    return [*out, *_wrapped(words, ""), ""]


def _spent(flops: float | None, card: CardSettings) -> str:
    if flops is None:
        return f"{'-':>9}{'-':>9}{'-':>9}"
    return f"{flops:>9.1e}{_number(cost.hours(flops, card)):>9}{_number(cost.money(flops, card)):>9}"


def _number(value: float) -> str:
    if value >= 1e6:
        return f"{value:.1e}"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value < 1 else f"{value:.1f}"


def _bytes(value: float | None) -> str:
    if value is None:
        return "-"
    for unit, size in (("T", 2**40), ("G", 2**30), ("M", 2**20)):
        if value >= size:
            return f"{value / size:.1f}{unit}"
    return f"{value / 2**10:.0f}K"


def _return(one: Return, card: CardSettings) -> str:
    hours = [_number(cost.hours(flops, card)) for flops in (one.rating, one.full, one.subset)]
    runs = "never" if one.runs is None else f"after {one.runs} run{'' if one.runs == 1 else 's'}"
    return (
        f"{one.rater} at {one.ratio:g}: {runs} of {one.model} (hours: rating {hours[0]}, a run "
        f"on all {hours[1]}, on the subset {hours[2]})"
    )
