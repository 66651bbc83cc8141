"""What every block of `pools:` holds: where the image-caption pairs come from and how they are split.

Each format adds its own in its file of `alchemist/pools/`, beside the function that reads it; the table of
formats is `alchemist.pools.read.FORMATS`.
"""

from pydantic import Field, model_validator

from alchemist.settings import Settings


class PoolSettings(Settings):
    """A block of `pools:`; `format` says which class it is of."""

    format: str = Field(description="what the pool is made of")
    resolution: int = Field(default=32, ge=16, le=1024, multiple_of=4, description="pixels of a side")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    shard_pairs: int = Field(default=16384, ge=1, description="images a shard file")


class SplitSettings(Settings):
    """Shares of the groups that are held out; the rest is the split pool."""

    meta_validation: float = Field(
        default=0.05, ge=0, lt=1, description="share on which a rater's proxy is validated"
    )
    evaluation: float = Field(default=0.2, ge=0, lt=1, description="share of reference images and prompts")
    scorer: float = Field(
        default=0.2, ge=0, lt=1, description="share on which the CLIP-Score model is fitted"
    )

    @model_validator(mode="after")
    def _leave_a_pool(self) -> "SplitSettings":
        total = self.meta_validation + self.evaluation + self.scorer
        if total >= 1:
            raise ValueError(f"the shares should sum to less than 1, and they sum to {total:.7g}")
        return self


class UserPool(PoolSettings):
    """A pool read from a person's own files."""

    path: str = Field(min_length=1, description="a folder; for webdataset and parquet also one file")
    resolution: int = Field(
        default=32, ge=16, le=1024, multiple_of=4, description="pixels of a side, after the crop"
    )
    seed: int = Field(default=0, ge=0, description="of the split")
    splits: SplitSettings = Field(default=SplitSettings(), description="shares that are held out")
    pairs: int | None = Field(
        default=None, ge=1, description="how many it holds, for a plan where its files are not here"
    )
    licence: str = Field(
        default="not stated", min_length=1, pattern=r"\S", description="free text, kept in the pool's card"
    )
