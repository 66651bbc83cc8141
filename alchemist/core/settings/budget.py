"""Blocks of `scales:` that say how much is spent on encoding, rating and training.

Defaults are those of the scale `tiny`, so that a scale says what it spends otherwise.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from alchemist.core.settings import Settings
from alchemist.core.settings.signs import SignSettings

Share = Annotated[float, Field(gt=0, le=1)]
Precision = Literal["auto", "bf16", "fp32"]
FAST = "type of the matrix products; auto: bf16 where it is fast"


class EncodeSettings(Settings):
    """`scales.SCALE.encode`: pixels and captions to what a family trains on."""

    # A block of its own for each family that does not take the packaged MiniLM: see `settings.text`.
    text: dict[str, Any] = Field(
        default={}, description="text encoder of each family, by its name; minilm where none is named"
    )
    batch: int = Field(default=250, ge=1, description="pairs at once; no figure depends on it")
    rows: int = Field(
        default=16_384, ge=1,
        description="of the pool's index a shard: what a kill costs, and what one process makes of several; "
        "states of captions in bfloat16 depend on it by their last digits",
    )  # fmt: skip


class TrainSettings(Settings):
    """`scales.SCALE.train`: one budget for every cell, in images."""

    images: int = Field(
        default=9600, ge=1, description="images seen by every cell; the full data reaches equal epochs here"
    )
    batch: int = Field(
        default=16, ge=1, description="images a step; of a smaller subset it holds pairs more than once"
    )
    chunk: int | None = Field(
        default=None,
        ge=1,
        description="images a forward and backward pass at once, whose gradients a step sums; fewer take "
        "less memory, and no figure depends on it beyond rounding; null: the whole batch",
    )
    learning_rate: float = Field(default=0.004, gt=0, description="of AdamW, at its peak")
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW, a step and unit of learning rate")
    clip: float = Field(default=2.0, gt=0, description="largest global norm of a gradient")
    schedule: Literal["constant", "linear"] = Field(
        default="constant", description="of the learning rate after the warm-up; linear falls to a hundredth"
    )
    warmup_images: int = Field(
        default=640, ge=0, description="images in which the learning rate rises from zero"
    )
    ema_images: float = Field(
        default=1000.0, ge=0, description="half-life of the averaged weights, in images"
    )
    caption_dropout: float = Field(
        default=0.1, ge=0, le=1, description="share of captions left out, for classifier-free guidance"
    )
    checkpoints: tuple[Share, ...] = Field(
        default=(0.5,),
        description="further checkpoints as shares of images, beside equal epochs and equal images",
    )
    precision: Precision = Field(default="auto", description=FAST)


class RateSettings(Settings):
    """`scales.SCALE.rate`: the budget of a rater's training, in images of the pool."""

    images: int = Field(
        default=6400, ge=1, description="images of the pool seen; as many of the meta-validation split"
    )
    batch: int = Field(
        default=32,
        ge=2,
        description="images a step, of either split; of a smaller one it holds pairs more than once",
    )
    # No bound by default: how many pairs there are decides, not how often each is seen (docs/own_pairs.md).
    validation_passes: float | None = Field(
        default=None,
        gt=0,
        description="most times that a proxy may see a meta-validation pair (images / pairs); null: no bound",
    )
    chunk: int | None = Field(
        default=None,
        ge=1,
        description="images a forward and backward pass at once, of any network; below batch the rater's "
        "passes forward are taken twice; no figure depends on it beyond rounding; null: whole batches",
    )
    proxy_learning_rate: float = Field(default=0.003, gt=0, description="of the proxy's AdamW, at its peak")
    rater_learning_rate: float = Field(default=0.001, gt=0, description="of the rater's AdamW, at its peak")
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW, a step and unit of learning rate")
    clip: float = Field(default=2.0, gt=0, description="largest global norm of a gradient")
    warmup_images: int = Field(
        default=320, ge=0, description="images in which the learning rates rise from zero"
    )
    caption_dropout: float = Field(
        default=0.1, ge=0, le=1, description="share of captions left out, of what proxy and rater train on"
    )
    reference_group: int = Field(
        default=255, ge=1, description="pairs of the pool beside which every pair is rated"
    )
    score_batch: int = Field(
        default=64, ge=1, description="pairs rated at once; no rating depends on it but of rating_mode batch"
    )
    precision: Precision = Field(default="auto", description=f"{FAST}; exact credits are of it too")
    signs: SignSettings = Field(
        default=SignSettings(), description="bounds of what may tell a rating that should not be used"
    )
