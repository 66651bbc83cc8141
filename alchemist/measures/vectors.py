"""Vectors of a pool's pictures as a file: a row of length one a pair, written and read some at a time."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import finite
from alchemist.core.arrays import Growing
from alchemist.pools import store

ADVICE = "the network's weights may be broken"
Floats = NDArray[np.float32]
Pictures = NDArray[np.uint8]


def unit(vectors: NDArray[np.floating]) -> Floats:
    """Rows of length one, float32; a row of zeros stays."""
    wide: Floats = vectors.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    np.divide(wide, lengths, out=wide, where=lengths > 0)
    return wide


def write(
    folder: Path,
    rows: pd.DataFrame,
    by: Callable[[Pictures], NDArray[np.floating]],
    batch: int,
    out: Path,
    tick: Callable[[int], object],
) -> None:
    """Writes what `by` makes of the pictures of rows (with `store.PLACE`) of an index to the file `out`.

    `by`: (n, R, R, 3) to (n, d), for `batch` pictures at most. The file is float16 (N, d) in the order of
    the rows. Streamed: 2 d bytes a pair on disk, none in memory. Raises Refusal, with ids, where a feature is
    not finite.
    """
    with contextlib.ExitStack() as stack:
        file: Growing | None = None
        for start in range(0, len(rows), batch):
            part = rows.iloc[start : start + batch]
            found = short(by(store.images(folder, part)), part["id"].tolist())
            if file is None:
                file = stack.enter_context(Growing(out, found.dtype, found.shape[1:]))
            file.append(found)
            tick(len(part))


def short(features: NDArray[np.floating], ids: list[str]) -> NDArray[np.float16]:
    """Features (n, d) of pairs `ids` as float16 of length one, so that no value is out of its reach.

    Raises Refusal, with ids, where one is not finite.
    """
    finite.check("features", features, ids, ADVICE)
    return unit(features).astype(np.float16)


def read(file: Path, rows: NDArray[np.integer]) -> Floats:
    """Some rows of such a file, float32 of length one."""
    # A map of its own each time: pages of a lasting one would pile up in memory.
    return unit(np.load(file, mmap_mode="r")[rows])
