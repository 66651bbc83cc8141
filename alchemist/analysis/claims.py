"""Which of the paper's eight claims hold in this study, by intervals over seeds.

A part of a claim is supported where the interval of the paired difference excludes zero (or the
claimed speed-up) on the claimed side, not supported where it excludes it on the other side, else
undecided. A claim is supported where all parts that decide are, not supported where one is not, else
undecided; it is not tested where the grid lacks the cells or has one seed, and cannot be supported where
the grid lacks a part of what it speaks of. Claims about quality are
decided by the paper's metric and point, FD at equal epochs; NLL, CLIP-Score and equal images stand
beside. No correction for many parts: to be supported all must be, which is strict already, but of many
parts one may fall on the other side by chance.

Three claims have parts of their own. C6: a rating that orders pairs as low loss does, but for noise, is
a loss ranking whatever it scores; that it does not is no sign of anything more, so the rank correlation
decides only against. C7: a figure that the arm has at its first checkpoint bounds the factor on one side,
and a bound decides on no other. C8: on other pools decide ratings that were carried there, by a rater with
`weights` that else is the paper's; a rater trained anew there moves the method, and stands beside.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from alchemist.analysis.agreement import Ratings, corrected_correlation, percentiles
from alchemist.analysis.cost import Bills, Speedup, speedup
from alchemist.analysis.results import FULL, Study
from alchemist.analysis.statistics import Interval, better, differences, excludes, figures, paired
from alchemist.settings.rater import LossRater, MetaRater, RaterSettings
from alchemist.settings.selection import SelectionSettings

Word = Literal["supported", "not supported", "undecided", "not tested"]

# What the paper claims, in one sentence each.
CLAIMS = {
    "C1": "Half of the data, selected, gives a lower FID than all of it at equal epochs.",
    "C2": "Selected data beats a random subset of equal size at every ratio and model size.",
    "C3": "Shift-Gsample comes before Gsample, and Gsample before Top-K.",
    "C4": "The Group MLP helps.",
    "C5": "The rating puts plain pairs on top, informative ones in the middle and chaotic ones last.",
    "C6": "The rating is more than a ranking by loss.",
    "C7": "Training is 2.33 times faster than on random data at 20 % and 5 times at 50 %.",
    "C8": "Ratings transfer across model sizes and pools.",
}
SPEEDUPS = {0.2: 2.33, 0.5: 5.0}  # by ratio; read off the paper's figure 6
LOSS_RANKING = 0.95  # a rating that agrees better than this with the order of low loss is that order
DECIDES = ("equal_epochs", "fd")
_POINTS = {"equal_epochs": "equal epochs", "equal_images": "equal images"}
_METRICS = {"fd": "FD", "nll": "NLL", "clip": "CLIP-Score"}
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Part:
    """One comparison that a claim rests on."""

    what: str  # in words: what is compared, where, in which metric
    unit: str  # a metric's short name, or: percentile, share, rank correlation, times
    interval: Interval  # in that unit; a difference, or for the unit times a ratio
    claimed: float  # the value that the interval must exclude: 0, or the claimed speed-up
    better: Literal[-1, 1]  # side of `claimed` on which the claim is right
    verdict: Word  # supported, not supported or undecided
    decides: bool  # False for what only stands beside
    ratio: float | None = None  # where it was compared, as far as that applies
    model: str | None = None
    point: str | None = None
    pool: str | None = None  # None for the pool of the study


@dataclass(frozen=True)
class Verdict:
    """What this study says about one claim."""

    claim: str  # C1 to C8
    sentence: str
    verdict: Word
    parts: tuple[Part, ...]
    why: str  # a few plain sentences: the part that decided, with interval and n, and what stands beside


@dataclass(frozen=True)
class Roles:
    """Selections of the grid by what they are; None where the grid has none."""

    alchemist: str | None  # the paper's: meta, trained here, credit penalty, a group gate, Shift-Gsample
    no_group: str | None  # the same without the gate
    gsample: str | None  # the same rater, other samplers
    topk: str | None
    loss: str | None  # low loss first, the sampler of alchemist
    random: str | None

    @classmethod
    def of(cls, study: Study) -> "Roles":
        """Finds them by the settings of rater and sampler, never by name.

        Of several that fit, the gate as in the paper (`group: product`) comes first, then samplers
        without values of their own, then the order of the grid.
        """
        chosen = {name: study.selections[name] for name in study.grid.chosen()}
        raters = {name: study.raters[selection.rater] for name, selection in chosen.items()}
        first: dict[tuple[bool, bool], str] = {}
        for name, selection in chosen.items():
            rater = raters[name]
            if not isinstance(rater, MetaRater) or selection.sampler != "shift_gsample":
                continue
            # The other roles have its rater, or one like it, so none of them has weights either.
            if rater.weights is None and rater.credit == "penalty" and rater.group != "none":
                first.setdefault((rater.group != "product", not _plain(selection)), name)
        if not first:
            return cls(None, None, None, None, None, study.baseline)
        ours = first[min(first)]

        def same_sampler(name: str) -> bool:
            return _sampler(chosen[name]) == _sampler(chosen[ours])

        def other_sampler(sampler: str) -> str | None:
            found = [n for n, s in chosen.items() if s.sampler == sampler and s.rater == chosen[ours].rater]
            return next(iter([n for n in found if _plain(chosen[n])] or found), None)

        def ungrouped(rater: RaterSettings) -> bool:
            # `baseline` moves the gate alone, so it may differ where there is none.
            gate = {"group", "rating_mode", "baseline"}
            alike = rater.model_dump(exclude=gate) == raters[ours].model_dump(exclude=gate)
            return isinstance(rater, MetaRater) and rater.group == "none" and alike

        def low_loss(rater: RaterSettings) -> bool:
            return isinstance(rater, LossRater) and rater.direction == -1

        return cls(
            alchemist=ours,
            no_group=next((n for n in chosen if ungrouped(raters[n]) and same_sampler(n)), None),
            gsample=other_sampler("gsample"),
            topk=other_sampler("topk"),
            loss=next((n for n in chosen if low_loss(raters[n]) and same_sampler(n)), None),
            random=study.baseline,
        )


def _plain(selection: SelectionSettings) -> bool:
    """Whether a sampler takes the defaults for the ratio."""
    return selection.start is None and selection.drop is None and _gaussian(selection) == (None, None)


def _gaussian(selection: SelectionSettings) -> tuple[float | None, float | None]:
    return selection.mean, selection.sigma


def _sampler(selection: SelectionSettings) -> tuple[object, ...]:
    return selection.sampler, selection.start, selection.drop, *_gaussian(selection)


@dataclass(frozen=True)
class _Case:
    """What every claim is judged on."""

    study: Study
    table: pd.DataFrame
    confidence: float
    roles: Roles
    bills: Bills | None
    ratings: Ratings
    kinds: "pd.Series[str] | None"
    elsewhere: pd.DataFrame | None  # tidy tables of other pools at this scale

    @property
    def model(self) -> str:
        """The model on which claims stand that name none."""
        return self.study.grid.models[0]


def verdicts(
    study: Study,
    table: pd.DataFrame,
    confidence: float,
    *,
    bills: Bills | None = None,
    ratings: Ratings | None = None,
    kinds: "pd.Series[str] | None" = None,
    elsewhere: pd.DataFrame | None = None,
    pool: str = "",
    scale: str = "",
) -> list[Verdict]:
    """A verdict on each of C1 to C8, in order.

    `table` is `report.tidy`; `ratings[rater][seed]` are Series by id and `kinds` the planted truth by
    id (both for C5, the ratings for C6 too); `bills` are for C7; `elsewhere` are tidy tables of other
    pools with the columns pool and scale besides (for C8), of which the rows of another pool and this
    scale count, under the names of selections of this study. `study.selections` and `study.raters` may
    hold more than the grid names: a selection whose rating was carried is looked for among them all.
    What is not given is not tested.

    Raises Refusal where the seeds of two arms do not match.
    """
    if elsewhere is not None:
        elsewhere = elsewhere[(elsewhere["pool"] != pool) & (elsewhere["scale"] == scale)]
    case = _Case(study, table, confidence, Roles.of(study), bills, ratings or {}, kinds, elsewhere)
    judges = {"C1": _c1, "C2": _c2, "C3": _c3, "C4": _c4, "C5": _c5, "C6": _c6, "C7": _c7, "C8": _c8}
    place = ", ".join(f"{word} {name}" for word, name in (("scale", scale), ("pool", pool)) if name)
    out = []
    for claim, judge in judges.items():
        if len(study.grid.seeds) < 2:
            parts: list[Part] = []
            why = f"The grid has one seed ({study.grid.seeds[0]}), and an interval needs at least two."
        else:
            parts, why = judge(case)
        deciding = [part for part in parts if part.decides]
        word = _together(part.verdict for part in deciding)
        gaps = _gaps(study, claim, deciding) if parts else []
        if gaps:
            why += f" {'Tested in part' if deciding else 'Not tested'}: {', and '.join(gaps)}."
            word = "undecided" if word == "supported" else word
        said = f"{why} {_capital(place)}." if place and parts else why
        out.append(Verdict(claim, CLAIMS[claim], word, tuple(parts), said))
    return out


def _gaps(study: Study, claim: str, parts: Sequence[Part]) -> list[str]:
    """What a claim speaks of and the parts that decide lack: then it cannot be supported, but it can fail."""
    out = []
    if claim == "C2":
        out += ["it has one ratio alone"] if len({part.ratio for part in parts}) < 2 else []
        out += ["it has one model size alone"] if len({part.model for part in parts}) < 2 else []
        every = {*study.grid.ratios, *(part.ratio for part in parts if part.ratio is not None)}
        for model in study.models():
            held = {part.ratio for part in parts if part.ratio is not None and part.model == model}
            if not held:
                out.append(f"model {model} was compared at no ratio")
            elif held != every:
                out.append(f"model {model} was compared at {' and '.join(map(_share, sorted(held)))} alone")
    if claim == "C7":
        tested = {part.ratio for part in parts}
        out += [f"{_share(ratio)} is not in the grid" for ratio in SPEEDUPS if ratio not in tested]
    if claim == "C8":
        if all(part.pool is not None for part in parts):
            out.append("no further model was trained on both subsets")
        if all(part.pool is None for part in parts):
            out.append("no rating was carried to another pool with two seeds at this scale")
    return out


def _together(words: Iterable[Word]) -> Word:
    """The verdict on a claim from those on its parts."""
    held = set(words)
    if not held:
        return "not tested"
    if "not supported" in held:
        return "not supported"
    return "supported" if held == {"supported"} else "undecided"


def _word(interval: Interval, claimed: float, side: int) -> Word:
    found = side * excludes(interval, claimed)
    return "supported" if found > 0 else "not supported" if found < 0 else "undecided"


# ------------------------------------------------------------------------------------- quality


def _compare(case: _Case, arm: str, against: str, ratio: float, model: str) -> list[Part]:
    """An arm and another in the study's own table."""
    return _parts(case.table, case.confidence, arm, against, ratio, model)


def _parts(
    table: pd.DataFrame,
    confidence: float,
    arm: str,
    against: str,
    ratio: float,
    model: str,
    pool: str | None = None,
) -> list[Part]:
    """An arm and another at both points in all metrics; nothing where the table lacks a side."""
    out = []
    for point, told in _POINTS.items():
        for metric, short in _METRICS.items():
            sides = [figures(table, name, ratio, model, point, metric) for name in (arm, against)]
            # A figure that a generator has not (NLL of a flow) is no missing cell.
            if any(len(side) < 2 or side.isna().any() for side in sides):
                continue
            found = differences(table, arm, against, ratio, model, point, metric)
            interval = paired(list(found.values()), confidence)
            where = f"at {_share(ratio)}, model {model}" + (f", pool {pool}" if pool else "")
            out.append(
                Part(
                    what=f"{short} at {told}, {arm} less {against} {where}",
                    unit=metric,
                    interval=interval,
                    claimed=0.0,
                    better=better(metric),
                    verdict=_word(interval, 0.0, better(metric)),
                    decides=(point, metric) == DECIDES,
                    ratio=ratio,
                    model=model,
                    point=point,
                    pool=pool,
                )
            )
    return out


def _ratios(case: _Case, *selections: str) -> list[float]:
    """Ratios at which all these selections have subsets, rising."""
    arms = case.study.arms()
    every = {ratio for _, ratio in arms}
    return sorted(r for r in every if all((name, r) in arms for name in selections))


def _c1(case: _Case) -> tuple[list[Part], str]:
    ours = case.roles.alchemist
    if ours is None:
        return [], _lacks("the paper's selection (Shift-Gsample on a meta-trained rating with a gate)")
    if 0.5 not in _ratios(case, ours):
        return [], _lacks(f"{ours} at 50 %")
    parts = [part for model in case.study.grid.models for part in _compare(case, ours, FULL, 0.5, model)]
    return parts, _told(parts, case.confidence)


def _c2(case: _Case) -> tuple[list[Part], str]:
    ours, theirs = case.roles.alchemist, case.roles.random
    if ours is None or theirs is None or not _ratios(case, ours, theirs):
        return [], _lacks("the paper's selection and a random one of equal size")
    models = [*case.study.grid.models, *case.study.grid.transfer.models]
    parts = [
        part
        for ratio in _ratios(case, ours, theirs)
        for model in models
        for part in _compare(case, ours, theirs, ratio, model)
    ]
    return parts, _told(parts, case.confidence)


def _c3(case: _Case) -> tuple[list[Part], str]:
    ours, middle, last = case.roles.alchemist, case.roles.gsample, case.roles.topk
    if ours is None or middle is None or last is None or not _ratios(case, ours, middle, last):
        return [], _lacks("Shift-Gsample, Gsample and Top-K on one meta-trained rating at one ratio")
    ratio = _ratios(case, ours, middle, last)[0]
    parts = _compare(case, ours, middle, ratio, case.model) + _compare(case, middle, last, ratio, case.model)
    if case.roles.random is not None:
        for name in (ours, middle, last):
            found = _compare(case, name, case.roles.random, ratio, case.model)
            parts += [_beside(part) for part in found]
    return parts, _told(parts, case.confidence)


def _c4(case: _Case) -> tuple[list[Part], str]:
    ours, theirs = case.roles.alchemist, case.roles.no_group
    if ours is None or theirs is None or not _ratios(case, ours, theirs):
        return [], _lacks("the paper's selection with and without the Group MLP, all else equal")
    parts = [p for r in _ratios(case, ours, theirs) for p in _compare(case, ours, theirs, r, case.model)]
    return parts, _told(parts, case.confidence)


def _c6(case: _Case) -> tuple[list[Part], str]:
    ours, theirs = case.roles.alchemist, case.roles.loss
    if ours is None or theirs is None or not _ratios(case, ours, theirs):
        return [], _lacks("the paper's selection and one of low loss first by the same sampler")
    parts = [p for r in _ratios(case, ours, theirs) for p in _compare(case, ours, theirs, r, case.model)]
    names = [case.study.selections[name].rater for name in (ours, theirs)]
    if not all(name in case.ratings for name in names):
        return parts, _told(parts, case.confidence)
    rating, low_loss = names
    found = corrected_correlation(case.ratings, rating, low_loss)
    if found is None:
        return parts, _told(parts, case.confidence)
    at = paired(list(found.corrected.values()), case.confidence, LOSS_RANKING)
    # No true correlation is above 1, and LOSS_RANKING is below it, so that the cap moves no decision.
    interval = replace(at, mean=min(at.mean, 1.0), low=min(at.low, 1.0), high=min(at.high, 1.0))
    verdict = _word(interval, LOSS_RANKING, -1)
    copy = verdict == "not supported"
    parts.append(
        Part(
            what=f"Spearman correlation of {rating} with the order of low loss, corrected for both "
            "ratings' noise",
            unit="rank correlation",
            interval=interval,
            claimed=LOSS_RANKING,
            better=-1,
            verdict=verdict,
            decides=copy,  # another order than that of the loss may still be of no use
        )
    )
    seen, first, second, mean = (
        _number(value, sign=False)
        for value in (sum(found.seen.values()) / at.n, found.first, found.second, interval.mean)
    )
    why = (
        f" The rating's rank correlation with low loss is {seen} as seen, where the rating has {first} with "
        f"itself between seeds and low loss {second}, so {mean} without that noise"
    )
    return parts, _told(parts, case.confidence) + why + (": it is a loss ranking." if copy else ".")


def _c8(case: _Case) -> tuple[list[Part], str]:
    ours, theirs = case.roles.alchemist, case.roles.random
    if ours is None or theirs is None:
        return [], _lacks("the paper's selection and a random one")
    parts = [
        part
        for model in case.study.grid.transfer.models
        for ratio in case.study.grid.transfer.ratios
        for part in _compare(case, ours, theirs, ratio, model)
    ]
    carried = _carried(case.study, ours)
    moved: list[Part] = []
    anew: list[Part] = []
    beside: list[Part] = []
    if case.elsewhere is not None:
        rows = case.elsewhere[case.elsewhere["selection"].isin([ours, *carried])]
        for pool, ratio, model in rows[["pool", "ratio", "model"]].drop_duplicates().itertuples(index=False):
            there = case.elsewhere[case.elsewhere["pool"] == pool]
            anew += _parts(there, case.confidence, ours, theirs, ratio, model, pool)
            for name in carried:
                moved += _parts(there, case.confidence, name, theirs, ratio, model, pool)
                beside += _parts(there, case.confidence, name, ours, ratio, model, pool)
    parts += [*moved, *map(_beside, [*anew, *beside])]
    if not parts:
        return [], _lacks("further models on both subsets, or tables of another pool with two seeds")
    why = _told(parts, case.confidence)
    if moved:
        why += " On another pool decides a rating that was carried: its rater was trained elsewhere."
    if anew:
        why += (
            f" For {ours} on another pool the rater was trained anew: the method moves there, no rating "
            "does, so it stands beside."
        )
    return parts, why


def _carried(study: Study, ours: str) -> list[str]:
    """Selections as ours in all but that the rater was trained elsewhere (`weights`), found by settings."""
    same = study.raters[study.selections[ours].rater].model_dump(exclude={"weights"})
    out = []
    for name, selection in study.selections.items():
        rater = study.raters.get(selection.rater)
        if not isinstance(rater, MetaRater) or rater.weights is None:
            continue
        alike = rater.model_dump(exclude={"weights"}) == same
        if alike and _sampler(selection) == _sampler(study.selections[ours]):
            out.append(name)
    return out


def _beside(part: Part) -> Part:
    return replace(part, decides=False)


# ------------------------------------------------------------------------------- planted truth


def _c5(case: _Case) -> tuple[list[Part], str]:
    ours = case.roles.alchemist
    if ours is None:
        return [], _lacks("the paper's selection (Shift-Gsample on a meta-trained rating with a gate)")
    rater = case.study.selections[ours].rater
    if case.kinds is None or not {"plain", "informative", "chaotic"} <= set(case.kinds):
        return [], "The pool has no planted truth with plain, informative and chaotic pairs."
    by_seed = case.ratings.get(rater, {})
    if len(by_seed) < 2:
        return [], f"An interval needs ratings of {rater} from at least two seeds."
    rows = []
    for seed in sorted(by_seed):
        place = percentiles(by_seed[seed])
        kind = case.kinds.reindex(place.index)
        means = place.groupby(kind).mean()
        share = kind.value_counts(normalize=True)
        top = kind[place < 10].value_counts(normalize=True)
        tail = kind[place > 90].value_counts(normalize=True)
        rows.append(
            {
                "informative less plain": means["informative"] - means["plain"],
                "chaotic less informative": means["chaotic"] - means["informative"],
                "top": top.get("plain", 0.0) - share["plain"],
                "tail": tail.get("chaotic", 0.0) - share["chaotic"],
            }
        )
    words = {
        "informative less plain": (f"mean percentile by {rater}, informative less plain", "percentile"),
        "chaotic less informative": (f"mean percentile by {rater}, chaotic less informative", "percentile"),
        "top": ("share of plain pairs in the best tenth less that in the pool", "share"),
        "tail": ("share of chaotic pairs in the last tenth less that in the pool", "share"),
    }
    parts = []
    for key, (what, unit) in words.items():
        interval = paired([row[key] for row in rows], case.confidence)
        verdict = _word(interval, 0.0, 1)
        parts.append(Part(what, unit, interval, 0.0, 1, verdict, decides=unit == "percentile"))
    return parts, _told(parts, case.confidence)


# ------------------------------------------------------------------------------------- speed-up


def _c7(case: _Case) -> tuple[list[Part], str]:
    ours, theirs = case.roles.alchemist, case.roles.random
    shared = [] if ours is None or theirs is None else _ratios(case, ours, theirs)
    ratios = [ratio for ratio in SPEEDUPS if ratio in shared]
    if ours is None or theirs is None or not ratios:
        return [], _lacks("the paper's selection and a random one at 20 % or 50 %")
    if case.bills is None:
        return [], "The costs of the cells are not given."
    out, whole, beside, notes = [], [], [], []
    for ratio in ratios:
        for metric, short in _METRICS.items():
            finals = [
                figures(case.table, name, ratio, case.model, "equal_images", metric)
                for name in (ours, theirs)
            ]
            if any(side.empty or side.isna().any() for side in finals):
                continue
            claimed = SPEEDUPS[ratio]
            at = speedup(
                case.study, case.table, case.bills, ours, theirs, ratio, case.model, metric,
                case.confidence, claimed,
            )  # fmt: skip
            where = f"{ours} until the final {short} of {theirs} at {_share(ratio)}"
            images = _times(at, at.images, claimed, f"images, {where}", metric == "fd")
            # Operations where all were counted: they do not depend on what else the machine did.
            counted = at.flops_with_rating is not None
            flops = f"FLOPs with the rating, {where}"
            seconds = f"seconds with the rating, {where}"
            operations = _times(at, at.flops_with_rating, claimed, flops, metric == "fd")
            clocked = _times(at, at.seconds_with_rating, claimed, seconds, metric == "fd" and not counted)
            with_rating = operations if counted else clocked
            if metric == "fd":
                out += images
                whole += with_rating
                beside += clocked if counted else []
                never = sum(run.images is None for run in at.ours)
                early = sum(bound == "at least" for bound in at.bounds.values())
                if at.most <= claimed:
                    notes.append(
                        f"at {_share(ratio)} the first checkpoint of {ours}, "
                        f"{_number(at.ours[0].first, sign=False)} images, cannot show a factor above "
                        f"{_number(at.most, sign=False)}, and the claimed one is {claimed:g}"
                    )
                if early:
                    notes.append(
                        f"at {_share(ratio)} {ours} was that good at its first checkpoint in {early} of "
                        f"{len(at.ours)} seeds, where the factor is a lower bound"
                    )
                if never:
                    notes.append(
                        f"at {_share(ratio)} {ours} never had the final FD of {theirs} in {never} of "
                        f"{len(at.ours)} seeds"
                    )
            else:
                beside += [*images, *with_rating]
    parts = [*out, *whole, *beside]
    why = _told(parts, case.confidence)
    alone, with_cost = (_together(part.verdict for part in side) for side in (out, whole))
    if alone == "supported" and with_cost == "not supported":
        why = "As fast as claimed only while the cost of the rating is left out. " + why
    elif alone == "supported" and with_cost == "undecided":
        why = "As fast as claimed without the cost of the rating; with it that is open. " + why
    return parts, why + "".join(f" {_capital(note)}." for note in notes)


def _times(at: Speedup, interval: Interval | None, claimed: float, what: str, decides: bool) -> list[Part]:
    """The part for one ratio of costs. A bound leaves its interval open, so it decides on one side alone."""
    if interval is None:
        return []
    verdict = _word(interval, claimed, 1)
    return [Part(what, "times", interval, claimed, 1, verdict, decides, ratio=at.ratio, model=at.model)]


# ---------------------------------------------------------------------------------------- words


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lacks(what: str) -> str:
    return f"The grid lacks {what}."


def _told(parts: Sequence[Part], confidence: float) -> str:
    """The part that decided with its interval, how many parts there are, and what stands beside."""
    deciding = [part for part in parts if part.decides]
    if not deciding:
        return "Nothing that decides was compared." if parts else "No figures of both sides from two seeds."
    word = _together(part.verdict for part in deciding)
    key = min((part for part in deciding if part.verdict == word), key=_margin)
    said = f"{_capital(key.what)}: {_measured(key, confidence)}."
    if len(deciding) > 1:
        yes = sum(part.verdict == "supported" for part in deciding)
        no = sum(part.verdict == "not supported" for part in deciding)
        said += f" Of {len(deciding)} parts that decide {yes} {_are(yes)} supported and {no} not."
    beside = []
    compared = {part.what.partition(", ")[2] for part in deciding}  # the arms, without metric and point
    for metric in ("nll", "clip"):
        held = [p for p in parts if p.unit == metric and p.point == DECIDES[0]]
        held = [p for p in held if p.what.partition(", ")[2] in compared]
        if held:
            yes = sum(part.verdict == "supported" for part in held)
            no = sum(part.verdict == "not supported" for part in held)
            beside.append(f"{_METRICS[metric]} {yes} for and {no} against of {len(held)}")
    return said + (f" Beside it at equal epochs: {', '.join(beside)}." if beside else "")


def _measured(part: Part, confidence: float) -> str:
    """Mean, interval and n in words. The interval of a factor is open where a seed gives a bound alone."""
    at, times = part.interval, part.unit == "times"
    sign = part.unit not in ("times", "rank correlation")
    mean, low, high = (_number(value, sign) for value in (at.mean, at.low, at.high))
    below, above = times and at.low == 0, math.isinf(at.high)
    lead, span = "", f"{low} to {high}"
    if below and above:
        span = "open at both ends"
    elif above:
        lead, span = "at least ", f"{low} or more"
    elif below:
        lead, span = "at most ", f"{high} or less"
    told = f"{lead}{mean} times against the claimed {part.claimed:g}" if times else mean
    return f"{told} ({100 * confidence:g} % interval {span}, n = {at.n})"


def _margin(part: Part) -> float:
    """How far the near end of the interval lies on the claimed side, in widths from there to the mean."""
    end = part.interval.low if part.better > 0 else part.interval.high
    near, half = part.better * (end - part.claimed), part.better * (part.interval.mean - end)
    return near / half if half > 0 else near * math.inf if near else 0.0


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _share(ratio: float) -> str:
    return f"{100 * ratio:g} %"


def _number(value: float, sign: bool = True) -> str:
    """Three digits that count, with a true minus."""
    plus = "+" if sign and value != 0 else ""
    text = f"{value:{plus},.0f}" if abs(value) >= 1000 else f"{value:{plus}.3g}"
    return text.replace("-", _MINUS)
