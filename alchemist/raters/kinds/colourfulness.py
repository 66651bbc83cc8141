"""Kind colourfulness: how colourful an image is."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core.settings.rater import HeuristicRater


class ColourfulnessRater(HeuristicRater):
    """Hasler and Süsstrunk's figure."""

    kind: Literal["colourfulness"] = Field(description="what gives the rating")


BLOCK = ColourfulnessRater


def rate(image: NDArray[np.uint8]) -> float:
    """Hasler and Süsstrunk (2003): sqrt(s_rg^2 + s_yb^2) + 0.3 sqrt(m_rg^2 + m_yb^2); 0 for greys."""
    red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    return float(np.hypot(rg.std(), yb.std()) + 0.3 * np.hypot(rg.mean(), yb.mean()))
