"""Where pairs of a pool came from, as far as it tells: a kept column, or the file that holds them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from alchemist.core.siphash import hashes
from alchemist.pools.row import ORIGIN
from alchemist.pools.store import EXTRA

Names = NDArray[np.object_]


def origins(folder: Path) -> Callable[[pd.DataFrame], Names | None]:
    """What gives the origin (n,) of rows of a pool's index (id, source, place, file, offset), or None.

    The kept column `origin` of a pair that has it; else the tar or parquet file that it is in, or the folder
    of an image that is a file of its own. Of a composed pool that kept none nothing is told. Memory grows by
    12 bytes a pair that kept it, and by the different names.
    """
    named, keys, codes = _kept(folder)

    def of(rows: pd.DataFrame) -> Names | None:
        places = rows["place"].to_numpy(dtype=str)
        is_pixels = np.isin(places, ("pixels", ""))
        if not len(keys) and is_pixels.all():
            return None
        offsets, files = rows["offset"].to_numpy(), rows["file"].to_numpy(dtype=object)
        is_alone = (places == "file") & (offsets <= 0)
        found = np.array(
            [
                (file.rpartition("/")[0] or ".") if one else file
                for file, one in zip(files, is_alone, strict=True)
            ],
            dtype=object,
        )
        within = is_pixels | (places == "bytes")  # of no file of a person's
        found[within] = rows["source"].to_numpy(dtype=object)[within]
        if len(keys):
            own = hashes(rows["id"])
            at = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
            has = keys[at] == own
            found[has] = named[codes[at[has]]]
        return found

    return of


def _kept(folder: Path) -> tuple[Names, NDArray[np.uint64], NDArray[np.int32]]:
    """Names, and by ascending hashes of ids the place of each pair's name among them."""
    keys, values = [np.empty(0, dtype=np.uint64)], [pd.Series(dtype="str")]
    for path in sorted(folder.glob(EXTRA.replace(".", "*."))):
        if ORIGIN in pq.read_schema(path).names:
            table = pd.read_parquet(path, columns=["id", ORIGIN])
            # A missing number is NaN, and a missing text "": such a pair kept none.
            table = table[table[ORIGIN].notna() & (table[ORIGIN] != "")]
            keys.append(hashes(table["id"]))
            values.append(table[ORIGIN].astype("str"))
    every = np.concatenate(keys)
    order = np.argsort(every)
    codes, named = pd.factorize(pd.concat(values, ignore_index=True))
    return np.asarray(named, dtype=object), every[order], codes[order].astype(np.int32)
