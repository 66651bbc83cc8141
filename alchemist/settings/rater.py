"""A block of `raters:`: what gives the pairs of the pool a rating; higher is kept first."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, ValidationInfo, field_validator, model_validator

from alchemist.core.refusal import Refusal
from alchemist.settings import Settings, legal, parse

Direction = Annotated[
    Literal[1, -1], Field(description="1: the larger the measure the better; -1: the smaller the better")
]


class SeededRater(Settings):
    """A rater that trains a proxy, or draws, once a seed."""

    named_in: ClassVar[str] = "raters"  # the list of `grid:`


class EmbeddingRater(Settings):
    """A rater on the features of fixed networks."""

    named_in: ClassVar[str] = "embeddings"


class MetaRater(SeededRater):
    """A network trained with gradient signals from a proxy (Alchemist)."""

    kind: Literal["meta"] = Field(description="what gives the rating")
    credit: Literal["penalty", "reference", "alignment", "unrolled"] = Field(
        default="penalty",
        description="penalty: eq. 9; reference: eq. 6; alignment: exact one step; unrolled: exact K steps",
    )
    reference_warmup: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="of credit reference alone: share of the run in which eq. 4 trains both models plainly",
    )
    unroll_steps: int | None = Field(
        default=None, ge=1, le=16, description="of credit unrolled alone: inner steps K of one window"
    )
    group: Literal["product", "temperature", "none", "double_softmax"] = Field(
        default="product",
        description="product: gate times softmax, as in the paper; temperature: the gate scales the logits; "
        "double_softmax: as published, a softmax over gate times softmax of sigmoids",
    )
    rating_mode: Literal["reference_group", "batch"] = Field(
        default="reference_group",
        description="reference_group: beside a fixed group of the pool; batch: as published, beside the "
        "pairs that happen to share the batch",
    )
    baseline: Literal["none", "validation"] = Field(
        default="none",
        description="taken off every credit; it moves the gate of group product alone. none is eq. 9 to the "
        "letter, under which that gate falls to zero; validation, the loss of that split, is of credit "
        "penalty alone",
    )
    bound: float | None = Field(
        default=2.0,
        gt=0,
        description="largest size of a centred logit in a batch; null for none, as double_softmax asks",
    )
    upper_weight: float = Field(
        default=1.0, gt=0, le=1, description="weight of the validation loss at the start"
    )
    upper_decay: float = Field(
        default=0.03, ge=0, le=1, description="taken off it at the start of each later epoch"
    )
    epochs: int = Field(
        default=10, ge=1, description="equal parts of the run, between which the weight falls"
    )
    weights: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="null: trained here; or a folder in assets/raters, SEED.safetensors, of raters that "
        "were trained elsewhere and rate this pool as they are",
    )

    # A value that the credit would ignore is refused, so that none is silently without effect.
    @field_validator("reference_warmup", "unroll_steps")
    @classmethod
    def _of_the_credit(cls, value: float | None, info: ValidationInfo) -> float | None:
        uses = {"reference_warmup": "reference", "unroll_steps": "unrolled"}[str(info.field_name)]
        credit = info.data.get("credit", uses)
        if value is not None and credit != uses:
            raise ValueError(f"it should be null, because only credit {uses} uses it")
        if value is None and info.data.get("credit") == uses:
            raise ValueError(f"it should be a number, because credit {uses} uses it")
        return value

    @model_validator(mode="after")
    def _together(self) -> "MetaRater":
        if (self.group == "double_softmax") != (self.rating_mode == "batch"):
            raise ValueError("group double_softmax and rating_mode batch go together, as published")
        if self.group == "double_softmax" and self.bound is not None:
            raise ValueError("bound should be null under group double_softmax, whose logits pass a sigmoid")
        if self.credit != "penalty" and self.baseline != "none":
            raise ValueError(
                "baseline should be none, because the validation loss is one of credit penalty alone"
            )
        return self


class LossRater(SeededRater):
    """The loss of a proxy trained plainly on the pool: the control that the paper lacks."""

    kind: Literal["loss"] = Field(description="what gives the rating")
    direction: Direction = 1


class El2nRater(SeededRater):
    """EL2N (Paul et al. 2021): the norm of softmax minus one-hot, a mean over early checkpoints."""

    kind: Literal["el2n"] = Field(description="what gives the rating")
    direction: Direction = 1
    checkpoints: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(0.25, 0.5, 1.0), min_length=1, description="shares of the proxy's run at which it is taken"
    )


class ReferenceLossRater(SeededRater):
    """Loss of a proxy of the pool less that of one of the validation split (after Mindermann et al. 2022)."""

    kind: Literal["reference_loss"] = Field(description="what gives the rating")
    direction: Direction = 1


class CaptionGainRater(SeededRater):
    """How much the caption lowers the proxy's loss: L(x, no caption) - L(x, caption)."""

    kind: Literal["caption_gain"] = Field(description="what gives the rating")
    direction: Direction = 1


class CaptionBandRater(SeededRater):
    """The middle of the loss ranking first, and last the pairs whose caption helps least (ours)."""

    kind: Literal["caption_band"] = Field(description="what gives the rating")
    centre: float = Field(
        default=50.0, ge=0, le=100, description="percentile of the loss that is rated best, 0 the lowest"
    )
    mismatched: float = Field(
        default=10.0,
        ge=0,
        lt=100,
        description="percent of the pool, of the lowest caption gain, that comes last",
    )


class ClipScoreRater(EmbeddingRater):
    """Cosine of image and caption under the evaluation's CLIP-like scorer (DataComp's filter)."""

    kind: Literal["clip_score"] = Field(description="what gives the rating")
    direction: Direction = 1


class SemDeDupRater(EmbeddingRater):
    """Semantic deduplication (Abbas et al. 2023): rated by the distance to the nearest earlier pair."""

    kind: Literal["semdedup"] = Field(description="what gives the rating")
    direction: Direction = 1
    clusters: int | None = Field(
        default=None, ge=1, description="of k-means; null: the root of the number of pairs"
    )
    keep: Literal["hard", "random"] = Field(
        default="hard",
        description="of near copies: hard keeps the one farthest from the centroid, as published",
    )
    seed: int = Field(default=0, ge=0, description="of k-means and of the random order")


class AestheticRater(EmbeddingRater):
    """The LAION aesthetic predictor V2 on CLIP ViT-L/14 embeddings; its weights are downloaded."""

    kind: Literal["aesthetic"] = Field(description="what gives the rating")
    direction: Direction = 1


class HeuristicRater(Settings):
    """A figure of the pixels alone."""

    named_in: ClassVar[str] = "heuristics"
    kind: Literal["clarity", "frequency", "edge_density", "colourfulness"] = Field(
        description="what gives the rating"
    )
    direction: Direction = 1


class RandomRater(SeededRater):
    """A hash of seed and id."""

    kind: Literal["random"] = Field(description="what gives the rating")


class OracleRater(Settings):
    """Planted truth, where a pool has it; read by the stage oracle alone."""

    named_in: ClassVar[str] = "oracles"
    kind: Literal["oracle"] = Field(description="what gives the rating")


RaterSettings = (
    MetaRater
    | LossRater
    | El2nRater
    | ReferenceLossRater
    | CaptionGainRater
    | CaptionBandRater
    | RandomRater
    | ClipScoreRater
    | SemDeDupRater
    | AestheticRater
    | HeuristicRater
    | OracleRater
)
KINDS: dict[str, type[RaterSettings]] = {
    kind: block
    for block in get_args(RaterSettings)
    for kind in get_args(block.model_fields["kind"].annotation)
}
# Which list of `grid:` names a rater, and with it the stage that writes its table.
LISTS: dict[str, str] = {kind: block.named_in for kind, block in KINDS.items()}


def rater_settings(value: Any, where: str) -> RaterSettings:
    """The block at `where`, by its kind. Raises Refusal for an unknown kind."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refusal(legal.wrong_value(f"{where}.kind", kind, KINDS))
    return parse(KINDS[kind], value, where)


def seeded(settings: RaterSettings) -> bool:
    """Whether the ratings differ with the seed of the grid, so that every seed has a table of its own."""
    return isinstance(settings, SeededRater)


def table_name(rater: str, settings: RaterSettings, seed: int) -> str:
    """Where a rater's table lies in the folder of ratings: RATER/SEED.parquet, or RATER/all.parquet."""
    return f"{rater}/{seed if seeded(settings) else 'all'}.parquet"
