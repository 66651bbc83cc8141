"""Kind caption_gain: how much the caption tells a proxy of its image."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Found, Plain


class CaptionGainRater(SeededRater):
    """How much the caption lowers the proxy's loss: L(x, no caption) - L(x, caption)."""

    kind: Literal["caption_gain"] = Field(description="what gives the rating")
    direction: Direction = 1

    def passes(self) -> int:
        """With the captions and without."""
        return 2


BLOCK = CaptionGainRater


def rate(run: "Plain", settings: CaptionGainRater) -> "Found":
    """How much the caption lowers the proxy's loss: L(x, no caption) - L(x, caption)."""
    from dataclasses import replace

    from alchemist.raters import proxy as plain

    bare, given, empty = plain.caption_losses(run)
    return replace(bare, rating=settings.direction * (empty - given))
