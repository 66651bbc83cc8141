"""The point `equal_cost`: how far each arm comes for what training on everything takes, rating counted in."""

from dataclasses import dataclass
from typing import cast

import pandas as pd

from alchemist.analysis.grid import FULL
from alchemist.analysis.words import EQUAL_COST

_RUN, _ARM = ["reference", "model", "seed"], ["selection", "ratio"]


def with_equal_cost(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a tidy table with `rate_tflop` and `train_tflop`, and those of the point `equal_cost`.

    That is of each arm and seed the last measured checkpoint until which rating and training take no more
    operations than the full data's training of that model and seed until `equal_images`. An arm whose
    rating leaves too little for its first checkpoint, or whose operations nobody counted, has none.
    """
    last = table[(table["selection"] == FULL) & (table["point"] == "equal_images")]
    rows = table.merge(last[[*_RUN, "train_tflop"]], on=_RUN, suffixes=("", "_allowed"))
    spent = rows["rate_tflop"] + rows["train_tflop"]
    # The same operations may be summed in another order.
    within = rows[spent <= rows.pop("train_tflop_allowed") * (1 + 1e-9)]
    found = within.sort_values("images", kind="stable").groupby([*_RUN, *_ARM]).tail(1)
    return pd.concat([table, found.assign(point=EQUAL_COST)], ignore_index=True)


@dataclass(frozen=True)
class Reached:
    """How far some seeds of an arm came."""

    selection: str
    ratio: float
    model: str
    images: int
    seeds: int  # how many of them
    rating: float  # TFLOP, their mean
    training: float  # TFLOP until there


def reached(table: pd.DataFrame) -> list[Reached]:
    """How far each arm came at `equal_cost`, by arm, model and checkpoint.

    More than one of an arm and model says that its seeds are compared at different lengths.
    """
    here = table[table["point"] == EQUAL_COST].drop_duplicates([*_ARM, "model", "seed"])
    out = []
    for key, part in here.groupby([*_ARM, "model", "images"], sort=False):
        selection, ratio, model, images = cast(tuple[str, float, str, int], key)
        rating, training = (float(part[name].mean()) for name in ("rate_tflop", "train_tflop"))
        out.append(Reached(selection, ratio, model, images, len(part), rating, training))
    return out
