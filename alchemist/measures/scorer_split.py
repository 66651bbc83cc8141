"""Which pairs of the split `scorer` the LiT scorer is fitted on, and on which it is examined. No torch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings.evaluation import ScorerSettings

HELD_OUT = 0.1  # share of the groups
LEAST = 2  # pairs, of which one can be told from the other
TRIES = 32  # larger shares, where a tenth leaves fewer
COLUMNS = ["group", "cluster"]  # of the index that decide it

Mask = NDArray[np.bool_]


def divided(rows: pd.DataFrame, settings: ScorerSettings, where: str = "scorer") -> tuple[Mask, Mask]:
    """Which rows (with `COLUMNS`) the scorer is fitted on, and which it is examined on.

    A tenth is held out by a draw of groups, or as much more as leaves `LEAST`. What is held out and has a
    copy among those that are fitted on is in neither: the scorer would be asked what it was told.
    Raises Refusal where too few are left of either, naming `where`.
    """
    places = stateless.id_uniforms(list(rows["group"]), "scorer held out", settings.seed)
    further = np.unique(places[places >= HELD_OUT])[:TRIES]
    for share in (HELD_OUT, *np.nextafter(further, 1)):
        fitted = places >= share
        examined = ~fitted & ~rows["cluster"].isin(rows["cluster"][fitted]).to_numpy()
        if examined.sum() >= LEAST:
            settings.taken(int(fitted.sum()), where)
            return fitted, examined
    raise Refusal(
        f"the split scorer has {len(rows)} usable pairs in {rows['cluster'].nunique()} clusters of copies "
        f"and {rows['group'].nunique()} groups; that is too few to fit {where} on some and examine it on "
        "others."
    )
