"""The blocks `scales.SCALE.evaluate` and `scales.SCALE.scorer`: how generators are measured.

Defaults are those of the scale `tiny`.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from alchemist.settings import Settings

LIT = "lit"


class EvaluateSettings(Settings):
    """What every checkpoint is measured by; the same in every arm.

    The properties are the names under which the figures are reported: a Fréchet distance
    carries the name of its feature network, since values of two networks have nothing in common.
    """

    images: int = Field(
        default=1000, ge=2, description="generated images, one a prompt; small n biases the distance upwards"
    )
    batch: int = Field(
        default=50, ge=1, description="images at once; no figure depends on it; 25 to 50 is fastest"
    )
    seed: int = Field(default=0, ge=0, description="of the generation noise")
    features: Literal["lite0", "inception"] = Field(
        default="lite0",
        description="network of the distances; inception is downloaded (the paper's pytorch-fid)",
    )
    feature_size: int = Field(
        default=128,
        ge=32,
        description="pixels of a side that lite0 sees, by clean-fid's antialiased bicubic; inception: 299",
    )
    clip: str = Field(
        default=LIT,
        description="lit (trained here on packaged towers), or an open_clip MODEL/TAG, "
        "as ViT-L-14/openai (downloaded)",
    )
    kid_subsets: int = Field(default=20, ge=2, description="subsets of the kernel distance")
    kid_subset_size: int = Field(
        default=500, ge=2, description="images of a subset; below `images`, or the standard deviation is 0"
    )
    grid: int = Field(default=32, ge=1, description="prompts of the sample grid, at most `images`")

    @field_validator("clip")
    @classmethod
    def _named(cls, value: str) -> str:
        model, _, tag = value.partition("/")
        if value != LIT and not (model and tag and "/" not in tag):
            raise ValueError(f"legal values are {LIT} and MODEL/TAG of open_clip, as ViT-L-14/openai")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "EvaluateSettings":
        if self.kid_subset_size > self.images or self.grid > self.images:
            raise ValueError(f"kid_subset_size and grid should be at most images ({self.images})")
        return self

    @property
    def features_name(self) -> str:
        """The feature network's name in every figure: lite0, or pytorch for pytorch-fid's Inception."""
        return "pytorch" if self.features == "inception" else self.features

    @property
    def fd_name(self) -> str:
        """fd_lite0, or fid_pytorch, which equals pytorch-fid (clean-fid's mode legacy_pytorch)."""
        return "fid_pytorch" if self.features == "inception" else "fd_lite0"

    @property
    def kid_name(self) -> str:
        """kid_lite0 or kid_pytorch."""
        return f"kid_{self.features_name}"

    @property
    def clip_name(self) -> str:
        """clip_lit (100 x cosine), or for a published model as clip_vit_l_14_openai (raw cosine)."""
        return "clip_" + "".join(c if c.isalnum() else "_" for c in self.clip.lower())


class ScorerSettings(Settings):
    """The LiT scorer: projections trained on two locked networks."""

    image_size: int = Field(default=64, ge=32, description="pixels of a side that the image network sees")
    embed_dim: int = Field(default=128, ge=2, description="shared dimensions of images and captions")
    steps: int = Field(default=600, ge=1, description="optimiser steps")
    batch: int = Field(default=256, ge=2, description="pairs a step")
    learning_rate: float = Field(default=0.003, gt=0, description="of AdamW, at its peak")
    seed: int = Field(default=0, ge=0, description="of the start, the batches and the held-out tenth")
