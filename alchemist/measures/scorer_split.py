"""Which pairs of the split `scorer` the LiT scorer is fitted on, and on which it is examined. No torch."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.settings.evaluation import ScorerSettings

HELD_OUT = 0.1  # share of the groups
LEAST = 2  # pairs, of which one can be told from the other


def held_out(rows: pd.DataFrame, settings: ScorerSettings, where: str = "scorer") -> NDArray[np.bool_]:
    """Which rows (with `group`) the scorer is examined on: a tenth by a draw of groups, `LEAST` at least.

    Raises Refusal where too few others are left to fit on, naming `where`.
    """
    places = stateless.id_uniforms(list(rows["group"]), "scorer held out", settings.seed)
    held: NDArray[np.bool_] = places < HELD_OUT
    if held.sum() < LEAST <= len(places):
        held = places <= np.partition(places, LEAST - 1)[LEAST - 1]
    settings.taken(int((~held).sum()), where)
    return held
