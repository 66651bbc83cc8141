"""Kind oracle: planted truth, the upper bound that no real rater can see."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import OracleRater

if TYPE_CHECKING:
    import pandas as pd


class TruthRater(OracleRater):
    """Informative pairs first."""

    kind: Literal["oracle"] = Field(description="what gives the rating")


BLOCK = TruthRater


def rate(planted: "pd.Series[str]") -> "pd.Series[float]":
    """1 for informative pairs and 0 for all others, of the planted kinds."""
    return (planted == "informative").astype("float64")
