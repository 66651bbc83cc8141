"""The claim that speed decides: C7, without and with the cost of the rating."""

from alchemist.analysis.case import Case, ratios_of
from alchemist.analysis.metrics import metric
from alchemist.analysis.parts import Part, compared_in, in_words, lacks, together, told, word_of
from alchemist.analysis.reach import GOALS
from alchemist.analysis.speedup import Speedup, speedup
from alchemist.analysis.statistics import Interval, figures
from alchemist.analysis.words import capital, percent, three_digits

SPEEDUPS = {0.2: 2.33, 0.5: 5.0}  # the claimed factors by ratio; read off the paper's figure 6


def c7(case: Case) -> tuple[list[Part], str]:
    """Training reaches the random subset's final figure so many times earlier; beside it, its best one."""
    ours, theirs = case.roles.alchemist, case.roles.random
    shared = [] if ours is None or theirs is None else ratios_of(case, ours, theirs)
    ratios = [ratio for ratio in SPEEDUPS if ratio in shared]
    if ours is None or theirs is None or not ratios:
        return [], lacks("the paper's selection and a random one at 20 % or 50 %")
    if case.bills is None:
        return [], "The costs of the cells are not given."
    alone, whole, others, notes = [], [], [], []
    for ratio in ratios:
        for name in compared_in(case.table):
            finals = [
                figures(case.table, side, ratio, case.model, "equal_images", name) for side in (ours, theirs)
            ]
            if any(final.empty or final.isna().any() for final in finals):
                continue
            claimed = SPEEDUPS[ratio]
            last, best = (
                speedup(
                    case.study, case.table, case.bills, ours, theirs, ratio, case.model, name,
                    case.confidence, claimed, goal,
                ) for goal in GOALS
            )  # fmt: skip
            images, with_rating, clocked = _parts(last, claimed, name == "fd")
            their_best = _parts(best, claimed, False)
            if name == "fd":
                alone += images
                whole += with_rating
                others += [*clocked, *their_best[0], *their_best[1], *their_best[2]]
                notes += _notes(last, claimed) + _past_its_best(last, best, their_best[0], case.confidence)
            else:
                others += [*images, *with_rating, *their_best[0], *their_best[1]]
    parts = [*alone, *whole, *others]
    why = told(parts, case.confidence)
    without_cost, with_cost = (together(part.verdict for part in side) for side in (alone, whole))
    if without_cost == "supported" and with_cost == "not supported":
        why = "As fast as claimed only while the cost of the rating is left out. " + why
    elif without_cost == "supported" and with_cost == "undecided":
        why = "As fast as claimed without the cost of the rating; with it that is open. " + why
    return parts, why + "".join(f" {capital(note)}." for note in notes)


def _parts(at: Speedup, claimed: float, decides: bool) -> tuple[list[Part], list[Part], list[Part]]:
    """In images, with the rating, and in seconds with the rating where operations were counted too.

    Operations where all were counted: they do not depend on what else the machine did.
    """
    where = f"{at.arm} until the {GOALS[at.goal]} {metric(at.metric).word} of {at.against}"
    where = f"{where} at {percent(at.ratio)}"
    counted = at.flops_with_rating is not None
    images = times(at, at.images, claimed, f"images, {where}", decides)
    flops = times(at, at.flops_with_rating, claimed, f"FLOPs with the rating, {where}", decides)
    seconds = f"seconds with the rating, {where}"
    clocked = times(at, at.seconds_with_rating, claimed, seconds, decides and not counted)
    return (images, flops, clocked) if counted else (images, clocked, [])


def _notes(at: Speedup, claimed: float) -> list[str]:
    """Where checkpoints alone say little of a factor in FD."""
    notes = []
    never = sum(run.images is None for run in at.ours)
    early = sum(bound == "at least" for bound in at.bounds.values())
    if at.most <= claimed:
        notes.append(
            f"at {percent(at.ratio)} the first checkpoint of {at.arm}, "
            f"{three_digits(at.ours[0].first, sign=False)} images, cannot show a factor above "
            f"{three_digits(at.most, sign=False)}, and the claimed one is {claimed:g}"
        )
    if early:
        notes.append(
            f"at {percent(at.ratio)} {at.arm} was that good at its first checkpoint in {early} of "
            f"{len(at.ours)} seeds, where the factor is a lower bound"
        )
    if never:
        notes.append(
            f"at {percent(at.ratio)} {at.arm} never had the final FD of {at.against} in {never} of "
            f"{len(at.ours)} seeds"
        )
    return notes


def _past_its_best(last: Speedup, best: Speedup, images: list[Part], confidence: float) -> list[str]:
    """Where the other arm ends worse than it was: the factor until its best FD, which decides nothing."""
    past = sum(end.threshold != at.threshold for end, at in zip(last.theirs, best.theirs, strict=True))
    return [
        f"at {percent(last.ratio)} {last.against} had its best FD before its last checkpoint in {past} of "
        f"{len(last.theirs)} seeds; in images until that best, {in_words(part, confidence)}"
        for part in images
        if past
    ]


def times(at: Speedup, interval: Interval | None, claimed: float, what: str, decides: bool) -> list[Part]:
    """The part for one ratio of costs. A bound leaves its interval open, so it decides on one side alone."""
    if interval is None:
        return []
    verdict = word_of(interval, claimed, 1)
    return [Part(what, "times", interval, claimed, 1, verdict, decides, ratio=at.ratio, model=at.model)]
