"""What params.yaml may hold, block by block, checked before any work.

One file a block family, none of which imports torch. Legal values stand in the types.
"""

from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from alchemist.core.refusal import Refusal


class Settings(BaseModel):
    """A block of params.yaml: unknown keys, wrong types and values out of range are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


S = TypeVar("S", bound=Settings)


def parse(block: type[S], value: Any, where: str) -> S:
    """The block at key `where`, or Refusal with the first mistake in it."""
    if not isinstance(value, dict):
        raise Refusal(f"{where} is {value!r}; it should be a block with the keys {_keys(block)}.")
    try:
        # JSON mode takes lists for tuples; everything else stays strict.
        return block.model_validate(_tuples(value))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        parent = place.rpartition(".")[0]
        if first["type"] == "extra_forbidden":
            raise Refusal(f"{place} is not a known key; legal keys are {_keys(_at(block, first))}.") from None
        if first["type"] == "missing":
            raise Refusal(
                f"{place} is missing; {parent} needs the keys {_keys(_at(block, first))}."
            ) from None
        message = first["msg"].removeprefix("Value error, ").removesuffix(".")
        message = message[0].lower() + message[1:]
        raise Refusal(f"{place} is {first['input']!r}; {message}.") from None


def _tuples(value: Any) -> Any:
    """YAML lists as tuples, which is what frozen blocks hold."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return value


def _at(block: type[Settings], error: Any) -> type[Settings]:
    """The block inside `block` in which an error lies."""
    for part in error["loc"][:-1]:
        annotation = block.model_fields[part].annotation
        inner = [
            a for a in (annotation, *get_args(annotation)) if isinstance(a, type) and issubclass(a, Settings)
        ]
        block = inner[0]
    return block


def _keys(block: type[Settings]) -> str:
    return ", ".join(block.model_fields)
