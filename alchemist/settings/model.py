"""A block of `models:`: the size of one generator."""

from typing import Literal

from pydantic import Field, model_validator

from alchemist.settings import Settings


class StarSettings(Settings):
    """A next-scale transformer (spec: C = 64 depth and depth heads at the published sizes)."""

    family: Literal["star"] = Field(description="the model family")
    depth: int = Field(ge=1, le=64, description="blocks")
    width: int = Field(ge=8, description="channels, C")
    heads: int = Field(ge=1, description="attention heads")
    drop_path: float = Field(ge=0, lt=1, description="drop-path rate of the last block")
    activation: Literal["gelu", "relu"] = Field(description="of the feed-forward part; relu is faster on CPU")

    @model_validator(mode="after")
    def _fits(self) -> "StarSettings":
        if self.width % self.heads or self.width // self.heads % 4:
            raise ValueError(f"width should be heads ({self.heads}) times a multiple of 4")
        return self
