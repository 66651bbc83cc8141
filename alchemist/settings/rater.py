"""A block of `raters:`: what gives the pairs of the pool a rating."""

from typing import Any, Literal

from pydantic import Field

from alchemist.refusal import Refusal
from alchemist.settings import Settings, parse


class MetaRater(Settings):
    """A network trained with gradient signals from a proxy (Alchemist)."""

    kind: Literal["meta"]
    credit: Literal["penalty"] = Field(description="penalty: eq. 9")
    group: Literal["product", "temperature", "none"] = Field(
        description="product: gate times softmax, as in the paper; temperature: the gate scales the logits"
    )
    baseline: Literal["none", "validation"] = Field(
        description="taken off every credit; it moves the gate of group product alone"
    )
    bound: float | None = Field(gt=0, description="largest size of a centred logit in a batch; null for none")
    upper_weight: float = Field(gt=0, le=1, description="weight of the validation loss at the start")
    upper_decay: float = Field(ge=0, le=1, description="taken off it at the start of each later epoch")
    epochs: int = Field(ge=1, description="equal parts of the run, between which the weight falls")
    seed: int = Field(ge=0)


class LossRater(Settings):
    """Minus the loss of a proxy trained plainly on the pool: the control that the paper lacks."""

    kind: Literal["loss"]
    seed: int = Field(ge=0)


class RandomRater(Settings):
    """A hash of the id."""

    kind: Literal["random"]
    seed: int = Field(ge=0)


class OracleRater(Settings):
    """Planted truth, where a pool has it; read by the stage oracle alone."""

    kind: Literal["oracle"]


RaterSettings = MetaRater | LossRater | RandomRater | OracleRater
KINDS: dict[str, type[RaterSettings]] = {
    "meta": MetaRater,
    "loss": LossRater,
    "random": RandomRater,
    "oracle": OracleRater,
}


def rater_settings(value: Any, where: str) -> RaterSettings:
    """The block at `where`, by its kind. Raises Refusal for an unknown kind."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refusal(f"{where}.kind is {kind!r}; legal values are {', '.join(KINDS)}.")
    return parse(KINDS[kind], value, where)
