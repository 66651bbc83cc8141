"""Kind copies: which of a cluster of copies a pair is."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from alchemist.core.settings.rater import IndexRater

if TYPE_CHECKING:
    import pandas as pd

    from alchemist.raters.ranks import Floats


class CopiesRater(IndexRater):
    """Minus the number of copies that come before a pair: first ones, then second ones and so on."""

    columns: ClassVar[tuple[str, ...]] = ("cluster",)
    kind: Literal["copies"] = Field(description="what gives the rating")


BLOCK = CopiesRater


def rate(rows: "pd.DataFrame", settings: CopiesRater) -> "Floats":
    """Ratings (N,): 0 for the first of each cluster, by a hash of the ids, -1 for the second."""
    from alchemist.raters.ranks import ranks

    return ranks(rows["cluster"].to_numpy(), rows, settings.seed)
