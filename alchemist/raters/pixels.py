"""Ratings by a figure of the pixels alone, in processes. No torch.

The paper names the first three without defining them; the definitions here are the usual ones of
image processing. Luma is Y = .299 R + .587 G + .114 B in [0, 255]; images of more than 256 px are
resized first, so that figures of different resolutions compare. Borders are reflected.
"""

import itertools
import math
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import connection
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.core import finite
from alchemist.core.settings.rater import HeuristicRater
from alchemist.pools import store
from alchemist.pools.index import COLUMNS, is_rated, part
from alchemist.raters.table import KINDS

CANVAS = 256  # px of the longest side at most
CHUNK = 512  # images of one task
_LUMA = np.array([299.0, 587.0, 114.0])  # in thousandths, so that the luma of 8-bit values is exact

Image = NDArray[np.uint8]
Plane = NDArray[np.float64]


def canvas(image: Image) -> Image:
    """An image (H, W, 3) whose longest side is at most 256 px; smaller ones are left as they are."""
    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= CANVAS:
        return image
    size = max(1, round(width * CANVAS / longest)), max(1, round(height * CANVAS / longest))
    # The mean over the covered area is the antialiased resizing.
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def luma(image: Image) -> Plane:
    """Thousandths of Y, (H, W), whole numbers up to 255,000: sums of them have no rounding."""
    return image.astype(np.float64) @ _LUMA


MEASURES: dict[str, Callable[[Image], float]] = {
    name: kind.rate for name, kind in KINDS.items() if issubclass(kind.BLOCK, HeuristicRater)
}


def score(kind: str, image: Image) -> float:
    """The measure `kind` of an image (H, W, 3) of 8 bits. Raises ValueError for anything else."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"An image has shape {image.shape} and type {image.dtype}; (H, W, 3) uint8 is legal."
        )
    return MEASURES[kind](canvas(image))


def worker(
    folder: Path, kind: str, direction: int, rows: int, workers: int,
    tick: Callable[[int], object] = lambda pairs: None,
) -> Callable[[int, Path], pd.DataFrame]:  # fmt: skip
    """What makes shard `number` of a pool: ratings of the `rows` rows of its index from number * rows on."""

    def work(number: int, drafts: Path) -> pd.DataFrame:
        index = part(folder, number * rows, rows, [*COLUMNS, *store.PLACE[1:]])
        chosen = index[is_rated(index)]
        measure = score_pool(folder, chosen, kind, workers, tick)
        tick(len(index) - len(chosen))
        ids = chosen["id"].array
        finite.check("rating", measure, ids, "another rater is legal")
        return pd.DataFrame({"id": ids, "rating": direction * measure, "lent": chosen["lent"].array})

    return work


def score_pool(
    folder: Path, index: pd.DataFrame, kind: str, workers: int, tick: Callable[[int], object]
) -> NDArray[np.float64]:
    """The measure of rows (with `store.PLACE`) of a pool's index: (N,), in their order.

    An image's value depends on the image alone, not on the number of processes. Memory beyond the
    result does not grow with N. An image that cannot be read raises; none is replaced.
    """
    parts = (index.iloc[i : i + CHUNK][store.PLACE] for i in range(0, len(index), CHUNK))
    out = np.empty(len(index))
    done = 0
    for values in _in_processes(folder, kind, parts, min(workers, math.ceil(len(index) / CHUNK))):
        out[done : done + len(values)] = values
        done += len(values)
        tick(len(values))
    return out


def _in_processes(
    folder: Path, kind: str, parts: Iterator[pd.DataFrame], workers: int
) -> Iterator[NDArray[np.float64]]:
    """Values of the parts, in order; no more than two parts a process are under way."""
    if workers <= 1:
        yield from (_measure(folder, kind, rows) for rows in parts)
        return
    # A fresh interpreter each: a fork would copy locks that the bar's thread may hold.
    executor = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        tasks = (executor.submit(_measure, folder, kind, rows) for rows in parts)
        waiting = deque(itertools.islice(tasks, 2 * workers))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(itertools.islice(tasks, 1))
    finally:
        executor.shutdown(cancel_futures=True)


def _measure(folder: Path, kind: str, rows: pd.DataFrame) -> NDArray[np.float64]:
    cv2.setNumThreads(1)  # the processes share out the cores
    return np.array([score(kind, image) for image in store.images(folder, rows)])


def _start_worker() -> None:
    """A worker leaves Ctrl-C to its parent, and ends when the parent is gone, even if that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
