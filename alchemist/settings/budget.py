"""Blocks of `scales:` that say how much is spent on encoding, rating and training."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from alchemist.settings import Settings


class FitSettings(Settings):
    """`tokenizer.fit`: how the tokenizer is fitted where it is not taken from the repo."""

    images: int = Field(ge=64, description="images seen, repeats included")
    pairs: int = Field(ge=64, description="distinct images composed or read for the fit")
    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    perceptual: float = Field(ge=0, description="weight of the VGG distance in the loss")
    codes: int = Field(ge=2, le=65536, description="codes of each codebook, V")
    width: int = Field(ge=8, multiple_of=8, description="channels of the networks on the code grid")
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _long_enough(self) -> "FitSettings":
        if self.images < 200 * self.batch:
            raise ValueError(
                f"images should be at least 200 batches of {self.batch}: codes start after 100 steps"
            )
        if self.pairs < self.batch:
            raise ValueError(f"pairs should be at least batch ({self.batch})")
        return self


class TokenizerSettings(Settings):
    """The block `tokenizer:`."""

    asset: str = Field(min_length=1, description="folder in assets/ that holds the fitted tokenizer")
    refit: bool = Field(description="true fits a new one instead of loading the asset")
    fit: FitSettings


class EncodeSettings(Settings):
    """`scales.SCALE.encode`."""

    max_text_tokens: int = Field(ge=2, le=512, description="captions are cut after this many word pieces")
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
