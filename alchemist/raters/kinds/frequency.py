"""Kind frequency: how much of an image is flat."""

from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core.settings.rater import HeuristicRater

LOW = 0.1  # of the Nyquist frequency: up to here a frequency is low


class FrequencyRater(HeuristicRater):
    """Share of low frequencies."""

    kind: Literal["frequency"] = Field(description="what gives the rating")


BLOCK = FrequencyRater


@lru_cache(maxsize=16)
def _spectral(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The Hann window, sampled at the pixels' centres, and which bins of the FFT are low."""
    window = [np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2 for n in (height, width)]
    rho = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]) / 0.5
    return np.outer(*window), rho <= LOW


def rate(image: NDArray[np.uint8]) -> float:
    """Share of the spectral energy of Y, less its mean and under a Hann window, up to a tenth of Nyquist.

    In [0, 1]; 1 for a constant image, which has no energy. Low is sharp: the paper's sign is not told.
    """
    from alchemist.raters.pixels import luma

    plane = luma(image)
    window, low = _spectral(*plane.shape)
    energy = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
    total = energy.sum()
    return float(energy[low].sum() / total) if total > 0 else 1.0
