"""What every block of `pools:` holds: where the image-caption pairs come from and how they are split.

Each format adds its own in its file of `alchemist/pools/`, beside the function that reads it; the table of
formats is `alchemist.pools.read.FORMATS`.
"""

from typing import Annotated, ClassVar

from pydantic import Field, field_validator, model_validator

from alchemist.core.settings import Settings
from alchemist.core.settings.copies import CopiesSettings

LARGEST = 200  # MB; with it the stage prepare stays below 600


class PoolSettings(Settings):
    """A block of `pools:`; `format` says which class it is of."""

    format: str = Field(description="what the pool is made of")
    resolution: int = Field(default=32, ge=16, le=1024, multiple_of=4, description="pixels of a side")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")


class FromPool(Settings):
    """A split that is another pool."""

    pool: str = Field(
        min_length=1,
        description="another block of pools, of a person's files: the split is all of it",
    )


Share = Annotated[float, Field(ge=0, lt=1)]


class SplitSettings(Settings):
    """What is held out: shares of the pool's own groups (the rest is the split pool), or other pools.

    A share takes no pair from the ids: those lent are rated too. The defaults give a pool of 5,000 pairs some
    250 to validate on and 500 prompts beside 500 references, and leave cells half of it (docs/own_pairs.md).
    """

    meta_validation: Share | FromPool = Field(
        default=0.05, description="share on which a rater's proxy is validated, or {pool: NAME}"
    )
    evaluation: Share | FromPool = Field(
        default=0.2, description="share of reference images and prompts, or {pool: NAME}"
    )
    scorer: Share | FromPool = Field(
        default=0.2, description="share on which the CLIP-Score model is fitted, or {pool: NAME}"
    )

    # Left out of a dump where there is none, so that a pool without it has the card that it always had.
    pretraining: Share | FromPool = Field(
        default=0.0,
        exclude_if=lambda held: held == 0,
        description="share on which networks are trained that cells then adapt, or {pool: NAME}",
    )

    clean: FromPool | None = Field(
        default=None,
        exclude_if=lambda held: held is None,
        description="{pool: NAME}, pairs without copies or faults: a further reference; no share is one",
    )

    @model_validator(mode="after")
    def _leave_a_pool(self) -> "SplitSettings":
        total = sum(self.shares().values())
        if total >= 1:
            raise ValueError(f"the shares should sum to less than 1, and they sum to {total:.7g}")
        return self

    def shares(self) -> dict[str, float]:
        """The share of each split in the pool's own groups, by the names in the index."""
        return {name: value for name, value in self._named() if isinstance(value, float)}

    def others(self) -> dict[str, str]:
        """The pool that a split is, by the split's name in the index; evaluation first, which loses least."""
        found = {name: value.pool for name, value in self._named() if isinstance(value, FromPool)}
        return dict(sorted(found.items(), key=lambda item: item[0] != "evaluation"))

    def _named(self) -> list[tuple[str, float | FromPool | None]]:
        # In this order the shares lie side by side when a group's split is drawn.
        return [
            ("meta_val", self.meta_validation),
            ("evaluation", self.evaluation),
            ("scorer", self.scorer),
            ("pretraining", self.pretraining),
            ("clean", self.clean),
        ]


class UserPool(PoolSettings):
    """A pool read from a person's own files."""

    # Whether a group is one and the same in other pools (a prompt), or a name in this one alone (a folder).
    groups_everywhere: ClassVar[bool] = True

    path: str = Field(min_length=1, description="a folder; for webdataset and parquet also one file")
    resolution: int = Field(
        default=32, ge=16, le=1024, multiple_of=4, description="pixels of a side, after the crop"
    )
    seed: int = Field(default=0, ge=0, description="of the split")
    splits: SplitSettings = Field(default=SplitSettings(), description="what is held out")
    copies: CopiesSettings = Field(
        default=CopiesSettings(), description="what is a copy of another pair, and what becomes of it"
    )
    sample: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="share of the pool's own groups that is read, drawn by a hash of each: a pilot's part",
    )
    pairs: int | None = Field(
        default=None, ge=1, description="how many it holds, for a plan where its files are not here"
    )
    largest: int = Field(
        default=LARGEST,
        ge=1,
        le=1_000_000,
        description="MB of memory that one image may take while it is decoded, all copies counted; of it, "
        "pages of a parquet file may take three fifths: what needs more is rejected",
    )
    licence: str = Field(
        default="not stated", min_length=1, pattern=r"\S", description="free text, kept in the pool's card"
    )

    def on_hub(self) -> bool:
        """Whether a `path` that does not exist is a name on a hub."""
        return False


class KeepingPool(UserPool):
    """A pool whose files may say more of a pair than its caption."""

    # Left out of a dump where there is none, so that a pool without it has the card that it always had.
    keep: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(),
        exclude_if=lambda names: not names,
        description="columns of numbers or text that are kept beside; those of csv and JSON are text",
    )

    @field_validator("keep")
    @classmethod
    def _leaves_ids(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if "id" in names:
            raise ValueError("id should not be among them: it is what their table calls a pair's own id")
        return names
