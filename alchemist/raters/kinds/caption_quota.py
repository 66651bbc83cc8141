"""Kind caption_quota: which of the pairs of one caption a pair is."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from alchemist.core.settings.rater import IndexRater

if TYPE_CHECKING:
    import pandas as pd

    from alchemist.raters.ranks import Floats


class CaptionQuotaRater(IndexRater):
    """Minus the number of pairs of its caption that come before: Top-K keeps a quota a caption."""

    columns: ClassVar[tuple[str, ...]] = ("caption",)
    kind: Literal["caption_quota"] = Field(description="what gives the rating")


BLOCK = CaptionQuotaRater


def rate(rows: "pd.DataFrame", settings: CaptionQuotaRater) -> "Floats":
    """Ratings (N,): 0 for the first of each normalised caption, by a hash of the ids, -1 for the second."""
    from alchemist.pools import captions
    from alchemist.raters.ranks import ranks

    return ranks(captions.hashes(rows["caption"].tolist()), rows, settings.seed)
