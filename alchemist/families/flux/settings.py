"""What params.yaml may hold of the family FLUX: sizes, the flow's law, and the sampling law."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from alchemist.core.settings import Settings
from alchemist.core.settings.model import FamilyCodec, ModelSettings

PRETRAINED = "pretrained"  # for weights: those that the stage pretrain leaves


class LoraSettings(Settings):
    """`models.NAME.lora`: low-rank adapters on a frozen network (Hu et al. 2022), by peft."""

    rank: int = Field(default=16, ge=1, description="of the adapters; their scale is 1")
    target: Literal["attention", "double", "all"] = Field(
        default="attention",
        description="what is adapted: attention of all blocks; and feed-forwards of double blocks; and the "
        "rest of single blocks",
    )


class FluxSettings(ModelSettings):
    """A rectified-flow transformer (Esser et al. 2024; FLUX-mini: 5 + 10 blocks of 24 heads of 128)."""

    has_likelihood: ClassVar[bool] = False
    family: Literal["flux"] = Field(description="the model family")
    double_blocks: int = Field(ge=1, le=64, description="blocks with weights of their own for text and image")
    single_blocks: int = Field(ge=1, le=128, description="blocks over text and image joined")
    heads: int = Field(ge=1, description="attention heads")
    head_width: int = Field(
        ge=6, multiple_of=2, description="channels of a head; heads times it is the width"
    )
    rope: tuple[int, int, int] = Field(
        description="channels of a head that turn with text, row, column: even numbers, head_width in sum"
    )
    text_width: int = Field(
        default=384, ge=1, description="numbers of a word piece's state: 384 of MiniLM, 4096 of T5-XXL"
    )
    pooled_width: int = Field(
        default=384, ge=1, description="numbers of a caption's pooled vector: 384 of MiniLM, 768 of CLIP-L"
    )
    density: Literal["logit_normal", "uniform"] = Field(
        default="logit_normal", description="of sigma, the share of noise, in training"
    )
    density_mean: float = Field(default=0.0, ge=-10, le=10, description="of the normal behind logit_normal")
    density_sd: float = Field(default=1.0, gt=0, description="standard deviation of that normal")
    weighting: Literal["none", "sigma_sqrt", "cosmap"] = Field(
        default="none", description="of the squared error by sigma (Esser et al. 2024)"
    )
    shift: float = Field(
        default=1.0, gt=0, description="in training sigma becomes shift sigma / (1 + (shift - 1) sigma)"
    )
    sigma_block: int = Field(
        default=1,
        ge=1,
        description="neighbouring image numbers of a run that share their sigmas in training",
    )
    scored_sigmas: int = Field(
        default=4,
        ge=1,
        le=64,
        description="strata of sigma over which the loss of a pair is a mean in scoring",
    )

    embedded_guidance: float | None = Field(
        default=None,
        ge=0,
        description="fed to a guidance-distilled network in training; null: the network has no such input",
    )
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="where training starts: a folder or a repository of diffusers, a .safetensors file of "
        "the published layout or of a cell's checkpoint, or the word pretrained, for a network that the "
        "stage pretrain trains once, for models of grid.others.flux; null: random weights",
    )
    subfolder: str = Field(
        default="transformer", description="of weights, where they are a folder or a repository; may be empty"
    )
    lora: LoraSettings | None = Field(
        default=None, description="adapters that are trained while the network stays as it is; null: none"
    )
    frozen_type: Literal["fp32", "bf16"] = Field(
        default="fp32", description="of the frozen network's weights, where adapters are trained"
    )
    gradient_checkpointing: bool = Field(
        default=False, description="blocks are run again in the backward pass, to hold less memory"
    )
    compile: bool = Field(default=False, description="blocks by torch.compile; not with exact credits")

    @property
    def adapts(self) -> bool:
        """See ModelSettings.adapts."""
        return self.weights == PRETRAINED

    def named_weights(self) -> str | None:
        """See ModelSettings.named_weights."""
        return None if self.adapts else self.weights

    def whole(self) -> "FluxSettings":
        """See ModelSettings.whole."""
        return self.model_copy(update={"weights": None, "lora": None, "frozen_type": "fp32"})

    def starting_at(self, checkpoint: Path) -> "FluxSettings":
        """See ModelSettings.starting_at."""
        return self.model_copy(update={"weights": str(checkpoint)})

    @model_validator(mode="after")
    def _fits(self) -> "FluxSettings":
        if self.lora is not None and self.weights is None:
            raise ValueError("weights should be named where lora is: adapters need a trained network")
        if self.weights == PRETRAINED and self.lora is None:
            raise ValueError("lora should be named where weights is pretrained: that network is adapted")
        if self.frozen_type == "bf16" and self.lora is None:
            raise ValueError("frozen_type should be fp32 where nothing is frozen: lora is null")
        if sum(self.rope) != self.head_width or any(part < 2 or part % 2 for part in self.rope):
            raise ValueError(f"rope should be three even numbers from 2 that sum to {self.head_width}")
        return self


class FluxLaw(Settings):
    """`scales.SCALE.sample.flux`: how images are drawn from a trained model."""

    steps: int = Field(default=20, ge=1, le=1000, description="Euler steps from noise to image")
    guidance: float = Field(
        default=2.0, ge=0, description="v = v_empty + guidance (v_caption - v_empty); 1 is none"
    )
    shift: Literal["dynamic"] | Annotated[float, Field(gt=0)] = Field(
        default=1.0,
        description="sigma becomes shift sigma / (1 + (shift - 1) sigma); dynamic: by the number of tokens, "
        "as FLUX.1-dev is sampled",
    )
    embedded_guidance: float = Field(
        default=3.5, ge=0, description="fed to a guidance-distilled network; others have no such input"
    )


class CodecSettings(FamilyCodec):
    """`codecs.flux`: what images become before the transformer sees them."""

    remedy: ClassVar[str] = "codecs.flux.kind: pixels loses nothing, at resolutions that it can be trained at"
    kind: Literal["pixels", "latents"] = Field(
        default="pixels", description="pixels as they are, or latents of a frozen autoencoder"
    )
    weights: str | None = Field(
        default=None, min_length=1, description="of the autoencoder: a folder, or a repository of a model hub"
    )
    subfolder: str = Field(default="vae", description="of weights that holds the autoencoder; may be empty")

    def named_weights(self) -> str | None:
        """See FamilyCodec.named_weights."""
        return self.weights

    @model_validator(mode="after")
    def _has_weights(self) -> "CodecSettings":
        if (self.kind == "latents") != (self.weights is not None):
            raise ValueError("weights should be named where kind is latents, and nowhere else")
        return self


# What to accept before published weights may be used, by a part of their name.
LICENCES = {
    "FLUX.1-dev": "gated, under the FLUX.1-dev non-commercial licence: accept it on its page, hf auth login",
    "flux-mini": "TencentARC/flux-mini, under the FLUX.1-dev non-commercial licence",
    "FLUX.1-schnell": "Apache-2.0, gated all the same: accept on its page, hf auth login",
}
MODEL, LAW, CODEC = FluxSettings, FluxLaw, CodecSettings
