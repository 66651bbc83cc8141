"""The claim that speed decides: C7, without and with the cost of the rating."""

from alchemist.analysis.case import Case, ratios_of
from alchemist.analysis.metrics import metric
from alchemist.analysis.parts import Part, compared_in, lacks, together, told, word_of
from alchemist.analysis.speedup import Speedup, speedup
from alchemist.analysis.statistics import Interval, figures
from alchemist.analysis.words import capital, percent, three_digits

SPEEDUPS = {0.2: 2.33, 0.5: 5.0}  # the claimed factors by ratio; read off the paper's figure 6


def c7(case: Case) -> tuple[list[Part], str]:
    """Training reaches the random subset's final figure so many times earlier."""
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
            at = speedup(
                case.study, case.table, case.bills, ours, theirs, ratio, case.model, name,
                case.confidence, claimed,
            )  # fmt: skip
            where = f"{ours} until the final {metric(name).word} of {theirs} at {percent(ratio)}"
            images = times(at, at.images, claimed, f"images, {where}", name == "fd")
            # Operations where all were counted: they do not depend on what else the machine did.
            counted = at.flops_with_rating is not None
            flops = f"FLOPs with the rating, {where}"
            seconds = f"seconds with the rating, {where}"
            operations = times(at, at.flops_with_rating, claimed, flops, name == "fd")
            clocked = times(at, at.seconds_with_rating, claimed, seconds, name == "fd" and not counted)
            with_rating = operations if counted else clocked
            if name == "fd":
                alone += images
                whole += with_rating
                others += clocked if counted else []
                never = sum(run.images is None for run in at.ours)
                early = sum(bound == "at least" for bound in at.bounds.values())
                if at.most <= claimed:
                    notes.append(
                        f"at {percent(ratio)} the first checkpoint of {ours}, "
                        f"{three_digits(at.ours[0].first, sign=False)} images, cannot show a factor above "
                        f"{three_digits(at.most, sign=False)}, and the claimed one is {claimed:g}"
                    )
                if early:
                    notes.append(
                        f"at {percent(ratio)} {ours} was that good at its first checkpoint in {early} of "
                        f"{len(at.ours)} seeds, where the factor is a lower bound"
                    )
                if never:
                    notes.append(
                        f"at {percent(ratio)} {ours} never had the final FD of {theirs} in {never} of "
                        f"{len(at.ours)} seeds"
                    )
            else:
                others += [*images, *with_rating]
    parts = [*alone, *whole, *others]
    why = told(parts, case.confidence)
    without_cost, with_cost = (together(part.verdict for part in side) for side in (alone, whole))
    if without_cost == "supported" and with_cost == "not supported":
        why = "As fast as claimed only while the cost of the rating is left out. " + why
    elif without_cost == "supported" and with_cost == "undecided":
        why = "As fast as claimed without the cost of the rating; with it that is open. " + why
    return parts, why + "".join(f" {capital(note)}." for note in notes)


def times(at: Speedup, interval: Interval | None, claimed: float, what: str, decides: bool) -> list[Part]:
    """The part for one ratio of costs. A bound leaves its interval open, so it decides on one side alone."""
    if interval is None:
        return []
    verdict = word_of(interval, claimed, 1)
    return [Part(what, "times", interval, claimed, 1, verdict, decides, ratio=at.ratio, model=at.model)]
