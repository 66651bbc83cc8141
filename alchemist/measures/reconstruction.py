"""Images through a codec and back, and how near each comes back."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from alchemist.measures.figures import Images
from alchemist.models.pixels import psnr


class Reconstruction:
    """What a codec makes of images; the decibels of all that passed are kept."""

    def __init__(self, through: Callable[[Images], Images]) -> None:
        self.through = through
        self.decibels: list[NDArray[np.float64]] = []

    def __call__(self, images: Images) -> Images:
        """The images (B, R, R, 3) after encoding and decoding."""
        again = self.through(images)
        self.decibels.append(psnr(images, again))
        return again

    @property
    def psnr(self) -> float:
        """Mean over the images that passed, in dB; sorted, so that their order decides no digit."""
        return float(np.sort(np.concatenate(self.decibels)).mean())
