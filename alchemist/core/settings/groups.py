"""`raters.RATER.groups`: which pairs are a group, of loss_within and of meta under groups `compared` and
`within`."""

from typing import Literal

from pydantic import Field

from alchemist.core.settings import Settings


class StrataSettings(Settings):
    """Which pairs are a group: a property of the pair, whatever batch it is in."""

    by: Literal["caption_length", "source", "embedding"] = Field(
        default="caption_length",
        description="caption_length: word pieces, in bins of about as many pairs; source: the file or folder "
        "that the pair lies in, or its kept column origin; embedding: k-means of pooled caption states",
    )
    count: int = Field(
        default=16,
        ge=2,
        le=1024,
        description="groups at most; of more sources the smallest are one group together",
    )


class GroupsSettings(StrataSettings):
    """Groups under groups `compared` and `within`, some of which are in a step."""

    a_step: int = Field(
        default=4,
        ge=2,
        description="groups a step, each with an equal part of rate.batch, of 2 pairs or more",
    )
