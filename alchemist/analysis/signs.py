"""Signs of ratings for which several seeds or raters are compared, and of copies among what is kept."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alchemist.analysis.agreement import Ratings, rank_correlations
from alchemist.analysis.grid import Study
from alchemist.core.settings.rater import seeded
from alchemist.core.settings.signs import SignSettings
from alchemist.raters.kinds.loss import LossRater
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.signs import Sign, sign

Kept = Mapping[tuple[str, float, int], "pd.Series[str]"]  # ids by selection, ratio and seed


@dataclass(frozen=True)
class Seen:
    """A sign, and of what: a rater, a selection at a ratio, or the pool."""

    of: str
    sign: Sign
    ratio: float | None = None


def of_ratings(study: Study, ratings: Ratings, bounds: SignSettings) -> list[Seen]:
    """Agreement of a rating with low loss, with its other seeds, and with a random one.

    The first is asked of meta-trained raters and of a rater of kind loss with a proxy of the same family:
    the mean over seeds. The second of every rater that trains a proxy: the mean over two seeds each. The
    third of every rater beside the first random one: the largest over seeds. A constant rating agrees with
    nothing and is left out.
    """
    kinds = study.raters
    rated = {name: by_seed for name, by_seed in ratings.items() if kinds[name].kind != "oracle"}
    random = next((name for name in rated if kinds[name].kind == "random"), None)
    found = []
    for pair in rank_correlations(rated):
        first, second = pair.first, pair.second
        if pair.n == 0 or np.isnan(pair.mean):
            continue
        if first == second:
            if seeded(kinds[first]) and first != random and kinds[first].kind != "random":
                found.append(Seen(first, sign("seeds", pair.mean, bounds.seeds)))
        elif random in (first, second):
            other = second if first == random else first
            if kinds[other].kind != "random":
                largest = max(abs(pair.low), abs(pair.high))
                found.append(Seen(other, sign("random", largest, bounds.random)))
        for one, beside in ((first, second), (second, first)):
            if isinstance(kinds[one], MetaRater) and _low_loss(study, beside, one):
                found.append(Seen(one, sign("loss", pair.mean, bounds.loss)))
    return found


def _low_loss(study: Study, rater: str, beside: str) -> bool:
    settings = study.raters[rater]
    alike = study.grid.rated_by(rater) == study.grid.rated_by(beside)
    return isinstance(settings, LossRater) and settings.direction == -1 and alike


def of_copies(clusters: "pd.Series[int]", kept: Kept, bounds: SignSettings) -> list[Seen]:
    """Shares of copies in the pool and among what each selection keeps at each ratio, means over seeds.

    `clusters` of the usable pairs by id: equal for copies of one another.
    """
    found = [Seen("the pool", sign("copies_pool", copied(clusters), bounds.copies))]
    shares: dict[tuple[str, float], list[float]] = {}
    for (selection, ratio, _), ids in kept.items():
        shares.setdefault((selection, ratio), []).append(copied(clusters.reindex(pd.Index(ids))))
    return found + [
        Seen(selection, sign("copies_kept", float(np.mean(values)), bounds.copies), ratio)
        for (selection, ratio), values in shares.items()
    ]


def copied(clusters: "pd.Series[int]") -> float:
    """The share of pairs that could go with one of each cluster left."""
    return 1 - clusters.nunique() / len(clusters) if len(clusters) else 0.0
