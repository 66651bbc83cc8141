"""The block `copies` of a pool: how near copies are found, and what becomes of them."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from alchemist.core.settings import Settings

Cosine = Annotated[float, Field(gt=0, le=1)]


class CopiesSettings(Settings):
    """Two pairs are near copies where the cosine of their pictures' vectors reaches a threshold.

    The defaults are measured with planted copies (benchmarks/copies.py) among 2,000 composed emoji of 32 px
    and 5,000 drawings of 64. With the caption of the original .9 finds 93 to 95 % of those that are JPEGs,
    resized, cropped by up to 6 % a side, lighter or darker, noisy, or written on; .95 finds 71 to 82 %, and
    .85 joins other emoji. With another caption only what is stricter is safe, as nearly all pairs have other
    captions: of what .98 joins 98 to 100 % is right, of what .95 joins 92 to 99 %, and less in a larger pool.
    It finds 35 to 63 %. A flip or other colours make another picture.
    """

    find: bool = Field(default=True, description="whether near copies are looked for")
    threshold: Cosine = Field(
        default=0.9, description="cosine from which on two pairs of one caption are near copies"
    )
    threshold_other: Cosine | None = Field(
        default=0.98,
        description="cosine from which on two pairs of different captions are; null: none are",
    )
    feature_size: int = Field(
        default=64, ge=32, le=512, description="pixels of a side of what EfficientNet-Lite0 sees"
    )
    keep: int | None = Field(
        default=1, ge=1, description="how many pairs of a cluster stay where copies are dropped; null: all"
    )
    drop: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="whether copies beyond `keep` are dropped; auto: where more than `share` of the "
        "pairs are copies of another",
    )
    share: float = Field(
        default=0.05, ge=0, lt=1, description="share of pairs that are copies, above which auto drops them"
    )
    seed: int = Field(
        default=0, ge=0, description="of the projection of features and of the order in which pairs lead"
    )

    @model_validator(mode="after")
    def _other_is_stricter(self) -> "CopiesSettings":
        if self.threshold_other is not None and self.threshold_other < self.threshold:
            raise ValueError(
                f"threshold_other should be at least threshold ({self.threshold}), or null, and it is "
                f"{self.threshold_other}"
            )
        return self
