"""What params.yaml may hold, block by block, with defaults, checked before any work.

One file a block family, none of which imports torch. Legal values stand in the types, units in the
descriptions: params.schema.json is made of both.
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal


class Settings(BaseModel):
    """A block of params.yaml: unknown keys, wrong types and values out of range are refused."""

    # Defaults are checked too, since what is legal may depend on another key of the block.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


S = TypeVar("S", bound=Settings)
BASE = "base"  # of a named block: another one of its table, which it takes over (alchemist.params.inherit)
UNKNOWN = ("extra_forbidden", "invalid_key")  # pydantic's types of error for a key that no class has


def parse(block: type[S], value: Any, where: str) -> S:
    """The block at key `where`, or Refusal with the first mistake in it."""
    if not isinstance(value, dict):
        raise Refusal(
            f"{where} is {value!r}; it should be a block with keys of {', '.join(block.model_fields)}, or "
            "{} for their defaults."
        )
    try:
        return block.model_validate(_tuples(value))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A key that is misspelt is missing too: what stands there is told first, with the nearest legal one.
        wrong = [one for one in errors if one["type"] in UNKNOWN]
        raise Refusal(_told(block, (wrong or errors)[0], where)) from None


def _told(block: type[Settings], error: Any, where: str) -> str:
    """One sentence: the key, its value, what is legal."""
    inner = legal.place(block, error["loc"])
    place = ".".join([where, *(str(part) for part in inner)])
    if error["type"] in UNKNOWN:
        names = list(legal.block_at(block, inner[:-1]).model_fields)
        is_named = len(inner) == 1 and where.count(".") == 1  # as scales.tiny is, and grid is not
        return legal.wrong_key(place, inner[-1], [*names, BASE] if is_named else names)
    if error["type"] == "missing":
        parent = legal.block_at(block, inner[:-1])
        needs = [name for name, field in parent.model_fields.items() if field.is_required()]
        return f"{place} is missing; {place.rpartition('.')[0]} needs the keys {', '.join(needs)}."
    if error["type"] == "value_error":
        message = str(error["ctx"]["error"]).removesuffix(".")
        return f"{place} is {legal.shown(error['input'])}; {message}."
    field = legal.at(block, inner)
    return f"{place} is {legal.shown(error['input'])}; it should be {legal.legal(field)}."


def _tuples(value: Any) -> Any:
    """YAML lists as tuples, which is what frozen blocks hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value
