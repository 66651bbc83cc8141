"""What params.yaml may hold of the family FLUX: sizes, the flow's law, and the sampling law."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from alchemist.settings import Settings
from alchemist.settings.model import ModelSettings


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
    density: Literal["logit_normal", "uniform"] = Field(
        default="logit_normal", description="of sigma, the share of noise, in training"
    )
    density_mean: float = Field(default=0.0, ge=-10, le=10, description="of the normal behind logit_normal")
    density_sd: float = Field(default=1.0, gt=0, description="standard deviation of that normal")
    weighting: Literal["none", "sigma_sqrt", "cosmap"] = Field(
        default="none", description="of the squared error by sigma (Esser et al. 2024)"
    )
    shift: float = Field(
        default=1.0, gt=0, description="sigma becomes shift sigma / (1 + (shift - 1) sigma), at all times"
    )
    scored_sigmas: int = Field(
        default=4,
        ge=1,
        le=64,
        description="strata of sigma over which the loss of a pair is a mean in scoring",
    )

    @model_validator(mode="after")
    def _fits(self) -> "FluxSettings":
        if sum(self.rope) != self.head_width or any(part < 2 or part % 2 for part in self.rope):
            raise ValueError(f"rope should be three even numbers from 2 that sum to {self.head_width}")
        return self


class FluxLaw(Settings):
    """`scales.SCALE.sample.flux`: how images are drawn from a trained model."""

    steps: int = Field(default=20, ge=1, le=1000, description="Euler steps from noise to image")
    guidance: float = Field(
        default=2.0, ge=0, description="v = v_empty + guidance (v_caption - v_empty); 1 is none"
    )


class CodecSettings(Settings):
    """`codecs.flux`: what images become before the transformer sees them."""

    kind: Literal["pixels", "latents"] = Field(
        default="pixels", description="pixels as they are, or latents of a frozen autoencoder"
    )
    weights: str | None = Field(
        default=None, min_length=1, description="of the autoencoder: a folder, or a repository of a model hub"
    )
    subfolder: str = Field(default="vae", description="of weights that holds the autoencoder; may be empty")

    @model_validator(mode="after")
    def _has_weights(self) -> "CodecSettings":
        if (self.kind == "latents") != (self.weights is not None):
            raise ValueError("weights should be named where kind is latents, and nowhere else")
        return self


MODEL, LAW, CODEC = FluxSettings, FluxLaw, CodecSettings
