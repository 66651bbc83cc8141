"""Kind clarity: how sharp an image is."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core.settings.rater import HeuristicRater


class ClarityRater(HeuristicRater):
    """Variance of the Laplacian."""

    kind: Literal["clarity"] = Field(description="what gives the rating")


BLOCK = ClarityRater


def rate(image: NDArray[np.uint8]) -> float:
    """Variance of the 4-neighbour Laplacian of Y, in squared grey levels; 100 is a usual threshold of blur.

    It grows with noise as well.
    """
    import cv2

    from alchemist.raters.pixels import luma

    laplacian = cv2.Laplacian(luma(image), cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT_101)
    return float((laplacian / 1000).var())
