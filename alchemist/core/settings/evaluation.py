"""The blocks `scales.SCALE.evaluate` and `scales.SCALE.scorer`: how generators are measured.

Defaults are those of the scale `tiny`.
"""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings

LIT = "lit"
STEP = 256  # pairs a step of the scorer where that is left open
LEAST = 4  # prompts, two subsets of two each for the kernel distance
References = Literal["once", "as_is", "clean"]
Distances = Literal["lite0", "inception", "inception_clean", "dinov2_vitl14", "dinov2_vitb14"]
Further = Literal["lite0", "inception", "inception_clean", "dinov2_vitl14", "dinov2_vitb14", "cmmd"]
# How a network, with the resizing that belongs to it, is named in a figure.
_SHORT = {"inception": "pytorch", "inception_clean": "clean"}


def fd_name(network: Further) -> str:
    """The Fréchet distance on a network: fd_lite0, or fid_pytorch and fid_clean by what they are equal to."""
    return f"{'fid' if network in _SHORT else 'fd'}_{_SHORT.get(network, network)}"


def kid_name(network: Further) -> str:
    """The kernel distance on a network, as kid_lite0."""
    return f"kid_{_SHORT.get(network, network)}"


class WeightsSettings(Settings):
    """Where the weights of published networks lie: a file, or OWNER/NAME of the Hugging Face hub."""

    inception: str | None = Field(
        default=None,
        min_length=1,
        description="file of pytorch-fid's InceptionV3 (pt_inception-2015-12-05-6726825d.pth) or hub name, "
        "for inception and inception_clean; null: downloaded from its release on GitHub",
    )
    dinov2_vitl14: str = Field(
        default="timm/vit_large_patch14_dinov2.lvd142m",
        min_length=1,
        description="file (Meta's dinov2_vitl14_pretrain.pth, or timm's model.safetensors) or hub name",
    )
    dinov2_vitb14: str = Field(
        default="timm/vit_base_patch14_dinov2.lvd142m", min_length=1, description="likewise, of ViT-B/14"
    )
    cmmd: str = Field(
        default="timm/vit_large_patch14_clip_336.openai",
        min_length=1,
        description="file or hub name of open_clip's ViT-L-14-336 with OpenAI's weights",
    )
    clip: str | None = Field(
        default=None,
        min_length=1,
        description="file or hub name of the open_clip model that `clip` names; null: where open_clip has it",
    )


class EvaluateSettings(Settings):
    """What every checkpoint is measured by; the same in every arm.

    The properties are the names under which the figures are reported: a Fréchet distance
    carries the name of its feature network, since values of two networks have nothing in common.
    """

    images: int | None = Field(
        default=None,
        ge=LEAST,
        description="generated images, one a prompt; small n biases the distance upwards; null: half of the "
        "evaluation pairs (all of them with references: all), at most `most_images`",
    )
    most_images: int = Field(default=1000, ge=LEAST, description="the most `images` where that is null")
    references: Literal["rest", "all"] = Field(
        default="rest",
        description="real images that they are compared with: the evaluation pairs that are no prompts, "
        "or all, those of the prompts too (MJHQ-30K: 30,000 of both)",
    )
    decides: References = Field(
        default="once",
        description="prompts and references whose figures are compared, those of the others stand beside: "
        "once (each cluster of copies counted once), as_is (as drawn from the pool) or clean (that split)",
    )
    curves: bool = Field(
        default=True,
        description="whether checkpoints that serve the curves alone are measured, as long as any other; "
        "false where a study compares arms at named points",
    )
    batch: int = Field(
        default=50,
        ge=1,
        description="images at once; 25 to 50 is fastest. On a CPU with bf16 others round otherwise: compare "
        "figures of one value",
    )
    seed: int = Field(default=0, ge=0, description="of the generation noise")
    features: Distances = Field(
        default="lite0",
        description="network of FD and KID; inception is the paper's pytorch-fid, inception_clean has "
        "clean-fid's resizing; all but lite0 need `weights`",
    )
    further: tuple[Further, ...] = Field(
        default=(),
        description="further networks, whose FD and KID (of cmmd: CMMD) stand beside, as "
        "[dinov2_vitl14, cmmd]",
    )
    feature_size: int = Field(
        default=128,
        ge=32,
        description="pixels of a side that lite0 sees, by clean-fid's antialiased bicubic; others: their own",
    )
    clip: str = Field(
        default=LIT,
        description="lit (trained here on packaged towers), or an open_clip MODEL/TAG, as ViT-L-14/openai",
    )
    weights: WeightsSettings = Field(
        default=WeightsSettings(), description="of the published networks that are asked for"
    )
    kid_subsets: int = Field(default=20, ge=2, description="subsets of the kernel distance")
    kid_subset_size: int = Field(
        default=500,
        ge=2,
        description="images of a subset; below `images`, or the standard deviation is 0; where there are "
        "fewer, or `images` is null, at most half of the prompts are taken",
    )
    grid: int = Field(
        default=32,
        ge=1,
        description="prompts of the sample grid; all where there are fewer",
    )

    @field_validator("clip")
    @classmethod
    def _named(cls, value: str) -> str:
        model, _, tag = value.partition("/")
        if value != LIT and not (model and tag and "/" not in tag):
            raise ValueError(f"legal values are {LIT} and MODEL/TAG of open_clip, as ViT-L-14/openai")
        return value

    @model_validator(mode="after")
    def _fits(self) -> "EvaluateSettings":
        if len(set(self.networks)) < len(self.networks):
            raise ValueError(
                f"further should hold each network once, and not that of features ({self.features})"
            )
        return self

    def most(self, pairs: int) -> int:
        """The most `images` that an evaluation split of so many pairs allows."""
        return pairs if self.references == "all" else pairs // 2

    def fitted(self, pairs: int, where: str = "evaluate") -> "EvaluateSettings":
        """The settings of the block at `where` for an evaluation split of so many pairs: `images` a number.

        `kid_subset_size` and `grid` shrink to what there is. Raises Refusal where the split has too few
        pairs for what is asked, or for any prompts at all.
        """
        most = self.most(pairs)
        if most < LEAST:
            need = LEAST if self.references == "all" else 2 * LEAST
            asked = "null" if self.images is None else self.images
            raise Refusal(
                f"{where}.images is {asked}, and the evaluation split has {pairs} pairs; at least {need} are "
                "needed to measure on."
            )
        if self.images is not None and self.images > most:
            raise Refusal(
                f"{where}.images is {self.images}; the evaluation split has {pairs} pairs, so at most {most} "
                "is legal."
            )
        images = self.images or min(self.most_images, most)
        subset = self.kid_subset_size
        if self.images is None or subset > images:
            subset = min(subset, images // 2)
        grid = min(self.grid, images)
        return self.model_copy(update={"images": images, "kid_subset_size": subset, "grid": grid})

    def of_clean(self, pairs: int, where: str = "evaluate") -> int:
        """Prompts of a clean split of so many pairs, by settings that are `fitted`; 0 where there is none.

        As many as fit, and no more than of the evaluation split. Raises Refusal where too few fit, or where
        the split decides and is not there.
        """
        if pairs == 0:
            if self.decides == "clean":
                raise Refusal(
                    f"{where}.decides is clean, but the pool's block asks for no such split (splits.clean, "
                    "of composed pairs clean.pairs); once and as_is are legal."
                )
            return 0
        most = self.most(pairs)
        if most < LEAST:
            need = LEAST if self.references == "all" else 2 * LEAST
            raise Refusal(
                f"the split clean has {pairs} usable pairs; at least {need} are needed to measure on."
            )
        return min(self.prompts, most)

    @property
    def prompts(self) -> int:
        """`images` of settings that are `fitted`."""
        assert self.images is not None
        return self.images

    @property
    def networks(self) -> tuple[Further, ...]:
        """All networks that features are taken of, that of `features` first."""
        return (self.features, *self.further)

    @property
    def names(self) -> dict[str, str]:
        """Full names of the figures by those of their columns; a further figure's are one."""
        further = [
            name
            for network in self.further
            for name in ((network,) if network == "cmmd" else (fd_name(network), kid_name(network)))
        ]
        return {"fd": self.fd_name, "kid": self.kid_name, "clip": self.clip_name} | {
            name: name for name in further
        }

    @property
    def fd_name(self) -> str:
        """fd_lite0; fid_pytorch, which equals pytorch-fid (clean-fid's mode legacy_pytorch)."""
        return fd_name(self.features)

    @property
    def kid_name(self) -> str:
        """kid_lite0 or kid_pytorch."""
        return kid_name(self.features)

    @property
    def clip_name(self) -> str:
        """clip_lit (100 x cosine), or for a published model as clip_vit_l_14_openai (raw cosine)."""
        return "clip_" + "".join(c if c.isalnum() else "_" for c in self.clip.lower())


class ScorerSettings(Settings):
    """The LiT scorer: projections trained on two locked networks."""

    image_size: int = Field(default=64, ge=32, description="pixels of a side that the image network sees")
    embed_dim: int = Field(default=128, ge=2, description="shared dimensions of images and captions")
    steps: int = Field(default=600, ge=1, description="optimiser steps")
    batch: int | None = Field(
        default=None,
        ge=2,
        description="pairs a step, at most half of the split; null: half of those fitted on, at most 256",
    )
    learning_rate: float = Field(default=0.003, gt=0, description="of AdamW, at its peak")
    seed: int = Field(default=0, ge=0, description="of the start, the batches and the held-out tenth")
    tells: float = Field(
        default=0.75,
        ge=0.5,
        lt=1,
        description="how often a held-out image should be nearer to its own caption than to another's, twice "
        "the standard error off; else CLIP-Score is said to say nothing; .5 are guesses, and 1 is certainty",
    )

    def taken(self, pairs: int, where: str = "scorer") -> int:
        """Pairs a step of the block at `where` where it is fitted on so many. Raises Refusal if too few."""
        if self.batch is None and pairs < 4:
            raise Refusal(f"{where}.batch is null, and there are {pairs} pairs to fit on; 4 are the least.")
        if self.batch is not None and self.batch > pairs:
            raise Refusal(
                f"{where}.batch is {self.batch}, and there are {pairs} pairs to fit on, which is the most."
            )
        return self.batch or min(STEP, pairs // 2)
