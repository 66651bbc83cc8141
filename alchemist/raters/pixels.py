"""Ratings by pixels alone: clarity, frequency, edge density and colourfulness. No torch.

The paper names the first three without defining them; the definitions here are the usual ones of
image processing. Luma is Y = .299 R + .587 G + .114 B in [0, 255]; images of more than 256 px are
resized first, so that figures of different resolutions compare. Borders are reflected.
"""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import connection
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from alchemist.pools import store

CANVAS = 256  # px of the longest side at most
LOW = 0.1  # of the Nyquist frequency: up to here a frequency is low
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


def clarity(image: Image) -> float:
    """Variance of the 4-neighbour Laplacian of Y, in squared grey levels; 100 is a usual threshold of blur.

    It grows with noise as well.
    """
    laplacian = cv2.Laplacian(luma(image), cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
    return float((laplacian / 1000).var())


@lru_cache(maxsize=16)
def _spectral(height: int, width: int) -> tuple[Plane, NDArray[np.bool_]]:
    """The Hann window, sampled at the pixels' centres, and which bins of the FFT are low."""
    window = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    rho = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]) / 0.5
    return np.outer(*window), rho <= LOW


def frequency(image: Image) -> float:
    """Share of the spectral energy of Y, less its mean and under a Hann window, up to a tenth of Nyquist.

    In [0, 1]; 1 for a constant image, which has no energy. Low is sharp: the paper's sign is not told.
    """
    plane = luma(image)
    window, low = _spectral(*plane.shape)
    energy = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    total = energy.sum()
    return float(energy[low].sum() / total) if total > 0 else 1.0


def edge_density(image: Image) -> float:
    """Share of pixels whose Sobel magnitude of Y is above the image's own Otsu threshold (Otsu 1979).

    In [0, 1]; 0 for a constant image. The threshold follows the contrast, so faint edges count as
    much as strong ones.
    """
    plane = luma(image)
    across, down = (
        cv2.Sobel(plane, cv2.CV_64F, *order, ksize=3, borderType=cv2.BORDER_REFLECT_101)
        for order in ((1, 0), (0, 1))
    )
    magnitude = np.hypot(across, down)
    largest = magnitude.max()
    if largest == 0:
        return 0.0
    levels = np.rint(magnitude * (255 / largest)).astype(np.uint8)
    threshold, _ = cv2.threshold(levels, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float((levels > threshold).mean())


def colourfulness(image: Image) -> float:
    """Hasler and Süsstrunk (2003): sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2); 0 for greys."""
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))


MEASURES: dict[str, Callable[[Image], float]] = {
    "clarity": clarity,
    "frequency": frequency,
    "edge_density": edge_density,
    "colourfulness": colourfulness,
}


def score(kind: str, image: Image) -> float:
    """The measure `kind` of an image (H, W, 3) of 8 bits. Raises ValueError for anything else."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ValueError(
            f"An image has shape {image.shape} and type {image.dtype}; (H, W, 3) uint8 is legal."
        )
    return MEASURES[kind](canvas(image))


def score_pool(
    folder: Path, index: pd.DataFrame, kind: str, workers: int, tick: Callable[[int], object]
) -> NDArray[np.float64]:
    """The measure of rows (id, shard, row) of a pool's index: (N,), in their order.

    An image's value depends on the image alone, not on the number of processes. Memory beyond the
    result does not grow with N. An image that cannot be read raises; none is replaced.
    """
    parts = (index.iloc[i : i + CHUNK][["id", "shard", "row"]] for i in range(0, len(index), CHUNK))
    out = np.empty(len(index))
    done = 0
    for values in _in_processes(folder, kind, parts, workers):
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
