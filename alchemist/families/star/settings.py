"""What params.yaml may hold of the family STAR: sizes, the sampling law, and the fit of its tokenizer."""

import os
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, legal
from alchemist.core.settings.model import FamilyCodec, ModelSettings
from alchemist.core.shown import shown

PUBLISHED = (256, 512, 1024)  # pixels of a side that the published tokenizer takes


class StarSettings(ModelSettings):
    """A next-scale transformer (spec: C = 64 depth and depth heads at the published sizes)."""

    family: Literal["star"] = Field(description="the model family")
    depth: int = Field(ge=1, le=64, description="transformer blocks")
    width: int = Field(ge=8, description="channels, C: heads times a multiple of 4")
    heads: int = Field(ge=1, description="attention heads")
    drop_path: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of pairs that skip the last block; earlier blocks have less",
    )
    activation: Literal["gelu", "relu"] = Field(
        default="relu", description="of the feed-forward part; relu is faster on CPU"
    )
    text_width: int = Field(
        default=384,
        ge=1,
        description="numbers of a word piece's state: 384 of MiniLM, 1024 of Stable Diffusion 2.1's CLIP",
    )
    float32_head: bool = Field(
        default=False, description="true: logits are float32 under autocasting too, as published; slower"
    )

    @model_validator(mode="after")
    def _fits(self) -> "StarSettings":
        if self.width % self.heads or self.width // self.heads % 4:
            raise ValueError(f"width should be heads ({self.heads}) times a multiple of 4")
        return self


class StarLaw(Settings):
    """`scales.SCALE.sample.star`: how images are drawn from a trained model."""

    guidance: float = Field(
        default=2.0, ge=0, description="classifier-free guidance at the last scale; 0 is none"
    )
    top_p: float = Field(
        default=0.95, gt=0, le=1, description="nucleus of the token sampling, as a share of probability"
    )
    top_k: int = Field(
        default=0, ge=0, description="likeliest codes from which a token is drawn, before top_p; 0: all"
    )


class FitSettings(Settings):
    """`codecs.star.fit`: how the tokenizer is fitted where it is not taken from the repo."""

    images: int | None = Field(
        default=None,
        ge=64,
        description="images seen, repeats included: at least 200 batches; null: each 30 times, or 500000",
    )
    pairs: int = Field(
        default=60_000,
        ge=64,
        description="distinct images composed or read for the fit, at least a batch; of fewer all",
    )
    batch: int = Field(default=32, ge=1, description="images a step")
    learning_rate: float = Field(default=0.002, gt=0, description="of AdamW, at its peak")
    perceptual: float = Field(default=0.2, ge=0, description="weight of the VGG distance in the loss")
    codes: int = Field(default=2048, ge=2, le=65536, description="codes of each codebook, V")
    width: int = Field(
        default=128, ge=8, multiple_of=8, description="channels of the networks on the code grid"
    )
    seed: int = Field(default=0, ge=0, description="of weights, codes and order")

    @model_validator(mode="after")
    def _long_enough(self) -> "FitSettings":
        if self.images is not None and self.images < 200 * self.batch:
            raise ValueError(
                f"images should be at least 200 batches of {self.batch}: codes start after 100 steps"
            )
        if self.pairs < self.batch:
            raise ValueError(f"pairs should be at least batch ({self.batch})")
        return self

    def seen(self, pairs: int) -> int:
        """Images that the fit sees where it has so many distinct ones.

        By default as often as 3,700 clip arts, of which 27 of 30 passes gave 27.0 dB; more than 500,000,
        with which the codec of the repo was fitted to 60,000, were never tried.
        """
        if self.images is not None:
            return self.images
        return min(500_000, max(200 * self.batch, 30 * pairs))


class TokenizerSettings(FamilyCodec):
    """The block `codecs.star`: which tokenizer."""

    # What to do where its reconstructions are too far off.
    remedy: ClassVar[str] = (
        "codecs.star.refit: true fits one to the pool, in some 20 minutes of a core by "
        "codecs.star.fit.images: 100000 (one that is fitted already wants more); a family on pixels has no "
        "such limit"
    )
    kind: Literal["fitted", "published"] = Field(
        default="fitted", description="our own, by asset, refit and fit; or VAR's, by weights"
    )
    weights: str = Field(
        default="FoundationVision/var",
        min_length=1,
        description="of the published one: OWNER/NAME on the Hugging Face hub, a folder, or the file .pth; "
        "it works at 256, 512 and 1024 pixels",
    )
    asset: str = Field(min_length=1, description="folder in assets/codecs/ that holds the fitted tokenizer")
    refit: bool = Field(description="true fits a new one instead of loading the asset")
    fit: FitSettings = Field(
        default=FitSettings(),
        description="values of a new fit; 100,000 images take some 20 minutes of a core",
    )

    def named_weights(self) -> str | None:
        """See FamilyCodec.named_weights."""
        return self.weights if self.kind == "published" else None

    def check(self, where: str, resolution: int, folder: Path) -> None:
        """See FamilyCodec.check."""
        if self.kind == "published":
            if resolution not in PUBLISHED:
                raise Refusal(
                    f"{where}.kind is published, which takes pictures of {', '.join(map(str, PUBLISHED))} "
                    f"pixels, and those of the pool have {resolution}; kind fitted is legal."
                )
            return
        if self.refit:
            return
        card = folder / self.asset / "card.json"
        if not os.path.isfile(card):  # which no name is too long for
            if not (names := _assets(folder)):
                raise Refusal(
                    f"{where}.asset is {shown(self.asset)}, and {folder} holds none; set refit: true."
                )
            raise Refusal(legal.wrong_value(f"{where}.asset", self.asset, names))
        files.check_manifest(card.parent, remedy=files.ASSET_REMEDY)
        made = files.read_json(card)["config"]["resolution"]
        if made != resolution:
            raise Refusal(
                f"{where}.asset is {shown(self.asset)}, a tokenizer of {made} pixels, and the pictures of "
                f"the pool have {resolution}; refit: true fits one to them."
            )

    def fitted_on(self, pairs: int | None) -> int | None:
        """See FamilyCodec."""
        if self.kind != "fitted" or not self.refit:
            return None
        there = self.fit.pairs if pairs is None else min(pairs, self.fit.pairs)
        if there < self.fit.batch:
            raise Refusal(
                f"codecs.star.fit.batch is {self.fit.batch}; the pool has {there} images to fit on."
            )
        return self.fit.seen(there)


def _assets(folder: Path) -> list[str]:
    return sorted(card.parent.name for card in folder.glob("*/card.json"))


LICENCES = {"FoundationVision/var": "MIT"}  # of published weights, by a part of their name
MODEL, LAW, CODEC = StarSettings, StarLaw, TokenizerSettings
