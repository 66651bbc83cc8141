"""A rated pool as the samplers see it: ids in ascending order, their ratings, and seeded noise.

A law acts on percentile ranks w in [0, 100]: 0 is the highest rating, 100 the lowest. Equal ratings
are ordered by a seeded hash of the id, so no result depends on the order of the table's rows.

Sized for tens of millions of ids: nothing here makes a Python object of an id, positions are 32-bit
where that is enough, and what is as long as the pool is held two or three times at the most.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alchemist.core import finite
from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms

if TYPE_CHECKING:  # the stage check reads the samplers' blocks alone
    import pandas as pd

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rows = NDArray[Any]  # positions in the pool, int32 or int64

PIECE = 1 << 17  # rows at a time where something is computed for all


@dataclass(frozen=True)
class Rated:
    """N pairs: `ids` ascending and unique, `rating` finite, higher first; `seed` of all that is drawn."""

    ids: "pd.Series[str]"
    rating: Floats
    seed: int

    def __len__(self) -> int:
        return len(self.ids)

    def noise(self, stream: str, chosen: Mask | None = None) -> Floats:
        """Uniform numbers in (0, 1) of the ids, (N,), each a function of (stream, seed, id).

        Only ids in `chosen` are hashed; the numbers of the others are 0.
        """
        ids, out = self.ids, np.zeros(len(self))
        for start in range(0, len(self), PIECE):
            piece = slice(start, start + PIECE)
            if chosen is None or chosen[piece].all():
                out[piece] = id_uniforms(ids.iloc[piece], stream, self.seed)
            elif chosen[piece].any():
                out[piece][chosen[piece]] = id_uniforms(ids.iloc[piece][chosen[piece]], stream, self.seed)
        return out

    def best_first(self) -> Rows:
        """Positions from the highest rating to the lowest, equal ratings in the order of the ids' hashes."""
        order = rising(-self.rating)
        tied = _beside_equal(self.rating, order)
        if tied.any():
            # The tied places hold whole runs of equal ratings, so sorting them alone leaves each run in
            # place. They start in the order of their ids, which decides where even hashes are equal.
            rows = np.sort(order[tied])
            among = np.zeros(len(self), dtype=bool)
            among[rows] = True
            rows = rows[rising(self.noise("ties", among)[rows])]
            order[tied] = rows[rising(-self.rating[rows])]
        return order

    def top(self, count: int) -> Mask:
        """The `count` highest ratings, without sorting them all; ties as in `best_first`."""
        limit = np.partition(self.rating, len(self) - count)[len(self) - count]
        mask: Mask = self.rating > limit
        tied = self.rating == limit
        rows = np.flatnonzero(tied)
        first = rising(self.noise("ties", tied)[rows])
        mask[rows[first[: count - int(mask.sum())]]] = True
        return mask


def checked(table: "pd.DataFrame", seed: int) -> Rated:
    """The pool of a table with the columns id and rating, in any order of its rows.

    Raises Refusal for an empty table, missing or repeated ids, and ratings that are not finite.
    """
    if len(table) == 0:
        raise Refusal("the rating table is empty; it should have at least one id.")
    if table["id"].isna().any():
        raise Refusal("the rating table has a row without an id; every row should have one.")
    # Neighbours are compared as arrays: many times faster than is_monotonic_increasing and duplicated.
    ids = table["id"].array
    if not (ids[:-1] < ids[1:]).all():
        table = table.sort_values("id", kind="stable")
        ids = table["id"].array
        twice = ids[:-1] == ids[1:]
        if twice.any():
            first = ids[int(twice.argmax())]
            raise Refusal(f"id {first!r} is in the rating table twice; ids should be unique.")
    rating = table["rating"].to_numpy(dtype=np.float64)
    finite.check("rating", rating, ids, "ratings should be finite numbers")
    return Rated(table["id"].reset_index(drop=True), rating, seed)


def largest(score: Floats, count: int) -> Mask:
    """The `count` largest scores; of equal ones the first."""
    limit = np.partition(score, len(score) - count)[len(score) - count]
    mask: Mask = score > limit
    mask[np.flatnonzero(score == limit)[: count - int(mask.sum())]] = True
    return mask


def percentiles(total: int) -> Floats:
    """Percentile ranks in descending order of rating: 0 for the first, 100 for the last of many."""
    return np.linspace(0, 100, total)


def rising(values: Floats) -> Rows:
    """Positions of finite values in ascending order, of equal ones the first first: a stable argsort.

    The leading bits of each value are sorted together with its position, in one word of 64 bits. That is
    three times as fast as an argsort of tens of millions, which jumps about in memory. Values whose
    leading bits are equal (39 of 30 million, all those of a float32) are put in order afterwards.
    """
    count = len(values)
    low = np.uint64(max(1, (count - 1).bit_length()))  # bits of a position
    words = (values + 0.0).view(np.uint64)  # + 0.0: one zero, not two
    for start in range(0, count, PIECE):
        piece = words[start : start + PIECE]
        # The bits of a float rise with it once those of negative ones are turned over.
        negative = (piece >> np.uint64(63)).astype(bool)
        piece ^= np.where(negative, np.uint64(2**64 - 1), np.uint64(1 << 63))
        piece >>= low
        piece <<= low
        piece |= np.arange(start, start + len(piece), dtype=np.uint64)
    words.sort()
    order = np.empty(count, dtype=np.int32 if count < 1 << 31 else np.int64)
    alike = np.zeros(count, dtype=bool)  # has a neighbour with the same leading bits
    for start in range(0, count, PIECE):
        piece = words[start : start + PIECE + 1]
        same = (piece[1:] >> low) == (piece[:-1] >> low)
        alike[start : start + len(same)] |= same
        alike[start + 1 : start + 1 + len(same)] |= same
        order[start : start + PIECE] = piece[:PIECE] & ((np.uint64(1) << low) - np.uint64(1))
    del words
    rows = order[alike]
    if len(rows) and (np.diff(values[rows]) < 0).any():
        order[alike] = rows[np.argsort(values[rows], kind="stable")]
    return order


def _beside_equal(values: Floats, order: Rows) -> Mask:
    """Which places of an order hold a value that a neighbour has too."""
    tied = np.zeros(len(order), dtype=bool)
    for start in range(0, len(order), PIECE):
        piece = values[order[start : start + PIECE + 1]]
        same = piece[1:] == piece[:-1]
        tied[start : start + len(same)] |= same
        tied[start + 1 : start + 1 + len(same)] |= same
    return tied
