"""Kind caption_band: ours, the middle of the loss ranking without the captions that help least."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Floats, Found, Plain


class CaptionBandRater(SeededRater):
    """The middle of the loss ranking first, and last the pairs whose caption helps least (ours)."""

    kind: Literal["caption_band"] = Field(description="what gives the rating")
    centre: float = Field(
        default=50.0, ge=0, le=100, description="percentile of the loss that is rated best, 0 the lowest"
    )
    mismatched: float = Field(
        default=10.0,
        ge=0,
        lt=100,
        description="percent of the pool, of the lowest caption gain, that comes last",
    )

    def passes(self) -> int:
        """With the captions and without."""
        return 2


BLOCK = CaptionBandRater


def rate(run: "Plain", settings: CaptionBandRater) -> "Found":
    """The middle of the loss ranking first, and last the pairs whose caption helps least (ours)."""
    from dataclasses import replace

    from alchemist.raters import proxy as plain

    bare, given, empty = plain.caption_losses(run)
    return replace(bare, rating=band(given, empty - given, settings.centre, settings.mismatched))


def band(losses: "Floats", gains: "Floats", centre: float, mismatched: float) -> "Floats":
    """Ratings (N,): minus the distance of a pair's loss percentile from `centre`, in percent.

    Low losses are plain images and high ones chaotic, so the middle is rated best. A caption that does
    not help marks a pair whose image is another's: the `mismatched` percent of lowest gain lose 100.
    """
    import numpy as np

    rating: Floats = -np.abs(percentiles(losses) - centre)
    rating[percentiles(gains) < mismatched] -= 100
    return rating


def percentiles(values: "Floats") -> "Floats":
    """Percentile of each value, 0 for the smallest and 100 for the largest; equal values share their mean."""
    import pandas as pd

    ranks = pd.Series(values).rank(method="average").to_numpy() - 1
    shares: Floats = 100 * ranks / max(len(values) - 1, 1)
    return shares
