"""The point `equal_cost`: how far each arm comes for what training on everything takes, rating counted in."""

import pandas as pd

from alchemist.analysis.grid import FULL
from alchemist.analysis.words import EQUAL_COST

_RUN = ["reference", "model", "seed"]


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
    found = within.sort_values("images", kind="stable").groupby([*_RUN, "selection", "ratio"]).tail(1)
    return pd.concat([table, found.assign(point=EQUAL_COST)], ignore_index=True)
