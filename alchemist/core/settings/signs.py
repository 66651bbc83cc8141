"""The block `scales.SCALE.rate.signs`: bounds of the figures that may tell a rating that should not be used.

They say when a sign fires, and change no rating. Which signs are shown as warnings is decided by what was
measured (`alchemist.raters.signs.EVIDENCE`), not here.
"""

from pydantic import Field

from alchemist.core.settings import Settings


class SignSettings(Settings):
    """Bounds of the signs, each in the sign's own unit."""

    memorised: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="largest share by which the proxy's validation loss lies under its train loss at the end",
    )
    passes: float = Field(default=10.0, gt=0, description="most times that a validation pair is seen")
    gate: float = Field(
        default=0.001, gt=0, lt=0.5, description="least distance of the group's gate from 0 and from 1"
    )
    few: float = Field(
        default=0.1, ge=0, le=1, description="least effective share of a batch that carries the weights"
    )
    flat: float = Field(
        default=0.98, ge=0, le=1, description="largest such share, above which all weigh the same"
    )
    equal: float = Field(
        default=0.1, ge=0, le=1, description="largest share of pairs that have one and the same rating"
    )
    loss: float = Field(
        default=0.95, ge=0, le=1, description="largest rank correlation with the low-loss rating of its seed"
    )
    seeds: float = Field(
        default=0.8, ge=-1, le=1, description="least mean rank correlation between two seeds' ratings"
    )
    random: float = Field(
        default=0.1, ge=0, le=1, description="largest size of the rank correlation with a random rating"
    )
    copies: float = Field(
        default=0.15, ge=0, le=1, description="largest share of pairs that are copies of another pair there"
    )
