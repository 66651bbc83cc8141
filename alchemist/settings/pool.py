"""A block of `pools:`: where the image-caption pairs come from and how they are split."""

from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from alchemist.core.refusal import Refusal
from alchemist.settings import Settings, legal, parse


class SharesSettings(Settings):
    """Probability of each planted kind, in the order of `alchemist.pools.emoji.KINDS`."""

    informative: float = Field(default=0.5, ge=0, le=1, description="one or two objects, a true caption")
    plain: float = Field(default=0.2, ge=0, le=1, description="near-blank, its object tiny or absent")
    chaotic: float = Field(default=0.12, ge=0, le=1, description="6 to 12 overlapping objects and noise")
    mismatched: float = Field(
        default=0.08, ge=0, le=1, description="an informative image with the caption of another"
    )
    degraded: float = Field(
        default=0.05, ge=0, le=1, description="blurred, JPEG-compressed or of low resolution"
    )
    duplicate: float = Field(default=0.05, ge=0, le=1, description="near copies of a few informative pairs")

    @model_validator(mode="after")
    def _whole(self) -> "SharesSettings":
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares should sum to 1, and they sum to {total:.7g}")
        return self


class MetaValidationSettings(Settings):
    """The split on which a rater's proxy is validated."""

    pairs: int = Field(default=1000, ge=1, description="pairs of the split")
    source: Literal["mixture", "clean"] = Field(
        default="mixture",
        description="mixture: the shares of the pool, as in the paper; clean: informative pairs alone",
    )


class CleanSettings(Settings):
    """A held-out split of informative pairs alone."""

    pairs: int = Field(default=3000, ge=1, description="pairs of the split")


class EmojiPool(Settings):
    """A pool composed from OpenMoji artwork, with flaws planted like those of a web crawl."""

    format: Literal["emoji"] = Field(description="what the pool is made of")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    resolution: int = Field(default=32, ge=16, le=128, multiple_of=4, description="pixels of a side")
    # A mismatched caption names none of the one or two objects shown, so it takes a third.
    concepts: int = Field(
        default=64, ge=3, description="distinct objects; the first 64 can be told apart at 16 pixels"
    )
    shares: SharesSettings = Field(
        default=SharesSettings(), description="probability of each planted kind; they sum to 1"
    )
    pairs: int = Field(default=8000, ge=1, description="pairs of the split pool, the one that is pruned")
    meta_validation: MetaValidationSettings = Field(
        default=MetaValidationSettings(), description="pairs on which a rater's proxy is validated"
    )
    evaluation: CleanSettings = Field(
        default=CleanSettings(), description="reference images and prompts of the evaluation"
    )
    scorer: CleanSettings = Field(
        default=CleanSettings(), description="pairs on which the CLIP-Score model is fitted"
    )
    shard_pairs: int = Field(default=16384, ge=1, description="images a shard file")


class ColumnsSettings(Settings):
    """Names of a parquet file's columns."""

    image: str = Field(
        default="image",
        min_length=1,
        description="column of encoded image bytes, or of structs with a field bytes",
    )
    caption: str = Field(default="caption", min_length=1, description="column of text")
    id: str | None = Field(
        default=None, min_length=1, description="column of ids; null: file name and row number"
    )


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


class UserPool(Settings):
    """A pool read from a person's own files."""

    format: Literal["folder", "webdataset", "parquet"] = Field(description="how the pairs lie on disk")
    path: str = Field(min_length=1, description="a folder; for webdataset and parquet also one file")
    resolution: int = Field(
        default=32, ge=16, le=1024, multiple_of=4, description="pixels of a side, after the crop"
    )
    seed: int = Field(default=0, ge=0, description="of the split")
    splits: SplitSettings = Field(default=SplitSettings(), description="shares that are held out")
    group: Literal["parent"] | None = Field(
        default=None,
        description="parent: images of one folder share a split; null: every id is its own group",
    )
    licence: str = Field(
        default="not stated", min_length=1, pattern=r"\S", description="free text, kept in the pool's card"
    )
    columns: ColumnsSettings | None = Field(default=None, description="parquet only, otherwise null")
    shard_pairs: int = Field(default=16384, ge=1, description="images a shard file")

    # A value that the format would ignore is refused, so that none is silently without effect.
    @field_validator("group")
    @classmethod
    def _group_of_folder(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("format", "folder") != "folder":
            raise ValueError("it should be null, because only format folder has parent folders")
        return value

    @field_validator("columns")
    @classmethod
    def _columns_of_parquet(
        cls, value: ColumnsSettings | None, info: ValidationInfo
    ) -> ColumnsSettings | None:
        source = info.data.get("format")  # absent if it was refused itself
        if source == "parquet" and value is None:
            raise ValueError("it should be a block with the keys image, caption, id for format parquet")
        if source in ("folder", "webdataset") and value is not None:
            raise ValueError(f"it should be null, because format {source} has no columns")
        return value


FORMATS: dict[str, type[EmojiPool] | type[UserPool]] = {
    "emoji": EmojiPool,
    "folder": UserPool,
    "webdataset": UserPool,
    "parquet": UserPool,
}


def pool_settings(value: Any, where: str) -> EmojiPool | UserPool:
    """The block at `where`, by its format. Raises Refusal for an unknown format."""
    source = value.get("format") if isinstance(value, dict) else None
    if not isinstance(source, str) or source not in FORMATS:
        raise Refusal(legal.wrong_value(f"{where}.format", source, FORMATS))
    return parse(FORMATS[source], value, where)
