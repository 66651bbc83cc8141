"""Whether ratings agree with people who compared two images of one prompt. No rater saw what they said."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.analysis.agreement import Ratings, auc


def preference_auc(
    ratings: Ratings, labels: pd.DataFrame, groups: "pd.Series[str]"
) -> dict[str, dict[int, tuple[float, float]]]:
    """By rater and seed the AUC of preferred above rejected images: over all prompts, and within a prompt.

    `labels` has a row an id, with how often it was preferred (`wins`) and how often rejected (`losses`): an
    image counts as often as it was compared. `groups` are prompts by id. The first AUC is the chance that a
    preferred image is rated above a rejected one, whatever the prompts; the second is that of two images of
    one prompt, where how well a prompt is rated plays no part. Ties count half; NaN where a side is empty.
    """
    out: dict[str, dict[int, tuple[float, float]]] = {}
    for rater, by_seed in ratings.items():
        for seed, rating in by_seed.items():
            known = labels[labels.index.isin(rating.index)]
            ids = np.concatenate([np.repeat(known.index, known[name]) for name in ("wins", "losses")])
            preferred = np.arange(len(ids)) < known["wins"].sum()
            values = rating.reindex(ids).reset_index(drop=True)
            within = _within(values, preferred, groups.reindex(ids).reset_index(drop=True))
            out.setdefault(rater, {})[seed] = auc(values, preferred), within
    return out


def _within(values: "pd.Series[float]", preferred: NDArray[np.bool_], groups: "pd.Series[str]") -> float:
    """The AUC over the pairs of a preferred and a rejected image that share a group."""
    table = pd.DataFrame({"rank": values.groupby(groups).rank(), "wins": preferred, "losses": ~preferred})
    of_wins = table["rank"].where(table["wins"], 0.0).groupby(groups).sum()
    counts = table[["wins", "losses"]].groupby(groups).sum()
    above = of_wins - counts["wins"] * (counts["wins"] + 1) / 2  # Mann and Whitney's U, group by group
    pairs = (counts["wins"] * counts["losses"]).sum()
    return float(above.sum() / pairs) if pairs else float("nan")
