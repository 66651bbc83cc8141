"""Kind edge_density: how much of an image is edges."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core.settings.rater import HeuristicRater


class EdgeDensityRater(HeuristicRater):
    """Share of pixels on edges."""

    kind: Literal["edge_density"] = Field(description="what gives the rating")


BLOCK = EdgeDensityRater


def rate(image: NDArray[np.uint8]) -> float:
    """Share of pixels whose Sobel magnitude of Y is above the image's own Otsu threshold (Otsu 1979).

    In [0, 1]; 0 for a constant image. The threshold follows the contrast, so faint edges count as
    much as strong ones.
    """
    import cv2

    from alchemist.raters.pixels import luma

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
