"""Claims that the ratings decide: C5 on the planted kinds, C6 on the ranking by loss."""

from dataclasses import replace

from alchemist.analysis.agreement import corrected_correlation, percentiles
from alchemist.analysis.case import Case, compared, ratios_of
from alchemist.analysis.parts import Part, lacks, told, word_of
from alchemist.analysis.statistics import paired
from alchemist.analysis.words import three_digits

LOSS_RANKING = 0.95  # a rating that agrees better than this with the order of low loss is that order


def c5(case: Case) -> tuple[list[Part], str]:
    """Plain pairs are rated best and chaotic ones last, by the planted truth."""
    ours = case.roles.alchemist
    if ours is None:
        return [], lacks("the paper's selection (Shift-Gsample on a meta-trained rating with a gate)")
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
        verdict = word_of(interval, 0.0, 1)
        parts.append(Part(what, unit, interval, 0.0, 1, verdict, decides=unit == "percentile"))
    return parts, told(parts, case.confidence)


def c6(case: Case) -> tuple[list[Part], str]:
    """The rating beats the ranking by loss, and is no copy of it."""
    ours, theirs = case.roles.alchemist, case.roles.loss
    if ours is None or theirs is None or not ratios_of(case, ours, theirs):
        return [], lacks("the paper's selection and one of low loss first by the same sampler")
    parts = [p for r in ratios_of(case, ours, theirs) for p in compared(case, ours, theirs, r, case.model)]
    names = [case.study.selections[name].rater for name in (ours, theirs)]
    if not all(name in case.ratings for name in names):
        return parts, told(parts, case.confidence)
    rating, low_loss = names
    found = corrected_correlation(case.ratings, rating, low_loss)
    if found is None:
        return parts, told(parts, case.confidence)
    at = paired(list(found.corrected.values()), case.confidence, LOSS_RANKING)
    # No true correlation is above 1, and LOSS_RANKING is below it, so that the cap moves no decision.
    interval = replace(at, mean=min(at.mean, 1.0), low=min(at.low, 1.0), high=min(at.high, 1.0))
    verdict = word_of(interval, LOSS_RANKING, -1)
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
        three_digits(value, sign=False)
        for value in (sum(found.seen.values()) / at.n, found.first, found.second, interval.mean)
    )
    why = (
        f" The rating's rank correlation with low loss is {seen} as seen, where the rating has {first} with "
        f"itself between seeds and low loss {second}, so {mean} without that noise"
    )
    return parts, told(parts, case.confidence) + why + (": it is a loss ranking." if copy else ".")
