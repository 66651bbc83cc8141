"""Numbers that are no numbers any more: told with the pairs that they are of, and never passed on."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alchemist.core.refusal import Refusal
from alchemist.core.shown import shown

NAMED = 5  # pairs that a sentence names


def some(ids: Sequence[str]) -> str:
    """The first ids of pairs, and how many more there are."""
    more = len(ids) - NAMED
    return ", ".join(shown(str(one)) for one in ids[:NAMED]) + (f" and {more} more" if more > 0 else "")


def finite(values: ArrayLike) -> NDArray[np.bool_]:
    """Which of N rows of values (N,) or (N, d) have nothing but finite numbers, (N,)."""
    held = np.isfinite(np.asarray(values))
    rows: NDArray[np.bool_] = np.asarray(held.all(axis=tuple(range(1, held.ndim))))
    return rows


def check(what: str, values: ArrayLike, ids: Sequence[str], advice: str) -> None:
    """Raises Refusal where values (N,) or (N, d) are not finite, with the `ids` (N,) of those rows."""
    held = finite(values)
    if held.all():
        return
    rows, array = np.flatnonzero(~held), np.asarray(values)
    named = some([ids[row] for row in rows[:NAMED]])
    if len(rows) == 1 and array.ndim == 1:
        named += f" ({shown(float(array[rows[0]]))})"
    more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    raise Refusal(f"the {what} of {len(rows)} of {len(held)} pairs is not finite: {named}{more}; {advice}.")
