"""Blocks of `scales:` that say how much is spent on encoding, rating and training."""

from typing import Annotated, Literal

from pydantic import Field

from alchemist.settings import Settings


class EncodeSettings(Settings):
    """`scales.SCALE.encode`."""

    caption_pieces: int = Field(ge=2, le=512, description="captions are cut after this many word pieces")
    batch: int = Field(ge=1)


class TrainSettings(Settings):
    """`scales.SCALE.train`: one budget for every cell, in images."""

    images: int = Field(
        ge=1, description="images seen by every cell; the full data reaches equal epochs here"
    )
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0, description="largest global norm of a gradient")
    schedule: Literal["constant", "linear"] = Field(description="of the learning rate after the warm-up")
    warmup_images: int = Field(ge=0)
    ema_images: float = Field(ge=0, description="half-life of the averaged weights, in images")
    caption_dropout: float = Field(ge=0, le=1)
    checkpoints: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        description="further checkpoints as fractions of images, beside equal epochs and equal images"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 where it is fast")


class RateSettings(Settings):
    """`scales.SCALE.rate`: the budget of a rater's training, in images of the pool."""

    images: int = Field(ge=1, description="images of the pool seen; as many of the meta-validation split")
    batch: int = Field(ge=2)
    proxy_learning_rate: float = Field(gt=0)
    rater_learning_rate: float = Field(gt=0)
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0)
    warmup_images: int = Field(ge=0)
    caption_dropout: float = Field(ge=0, le=1)
    reference_group: int = Field(ge=1, description="pairs of the pool against which every pair is rated")
    score_batch: int = Field(ge=1)
    precision: Literal["auto", "bf16", "fp32"] = Field(description="auto: bf16 where it is fast")
