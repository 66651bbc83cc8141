"""What params.yaml may hold, block by block, with defaults, checked before any work.

One file a block family, none of which imports torch. Legal values stand in the types, units in the
descriptions: params.schema.json is made of both.
"""

import math
import re
import unicodedata
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.core.settings.meant import meanings
from alchemist.core.shown import named, shown


class Settings(BaseModel):
    """A block of params.yaml: unknown keys, wrong types and values out of range are refused."""

    # Defaults are checked too, since what is legal may depend on another key of the block.
    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


S = TypeVar("S", bound=Settings)
BASE = legal.BASE
MOST = 2**53  # what a whole number may be: JSON and float64 hold every one up to it
LARGEST = 1e30  # what a number may be: float32 still holds products with it
LETTERS = 10_000  # of a text
UNKNOWN = ("extra_forbidden", "invalid_key")  # pydantic's types of error for a key that no class has


def parse(block: type[S], value: Any, where: str) -> S:
    """The block at key `where`, or Refusal with the first mistake in it."""
    if not isinstance(value, dict):
        raise Refusal(
            f"{where} is {shown(value)}; it should be a block with keys of "
            f"{legal.listed(list(block.model_fields))}, or {{}} for their defaults."
        )
    try:
        return block.model_validate(_plain(value, where))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        # A key that is misspelt is missing too: what stands there is told first, with the nearest legal one.
        wrong = [one for one in errors if one["type"] in UNKNOWN]
        raise Refusal(_told(block, (wrong or errors)[0], where)) from None


def _told(block: type[Settings], error: Any, where: str) -> str:
    """One sentence: the key, its value, what is legal."""
    inner = legal.place(block, error["loc"])
    if inner and inner[-1] == "[key]":  # of a block of names
        above = ".".join([where, *(named(part) for part in inner[:-2])])
        return f"{above} has the key {shown(inner[-2])}; it should be a name."
    if error["type"] == "missing" and isinstance(inner[-1], int):  # a list that is too short
        inner = inner[:-1]
        error = error | {"type": "too_short"}
    place = ".".join([where, *map(named, inner)])
    if error["type"] in UNKNOWN:
        names = list(legal.block_at(block, inner[:-1]).model_fields)
        is_named = len(inner) == 1 and where.count(".") == 1  # as scales.tiny is, and grid is not
        above = place.removesuffix(f".{named(inner[-1])}")
        return legal.wrong_key(f"{above}.{inner[-1]}", inner[-1], [*names, BASE] if is_named else names)
    if error["type"] == "missing":
        parent = legal.block_at(block, inner[:-1])
        needs = [name for name, field in parent.model_fields.items() if field.is_required()]
        return f"{place} is missing; {place.rpartition('.')[0]} needs the keys {', '.join(needs)}."
    if error["type"] == "value_error":
        message, given = str(error["ctx"]["error"]).removesuffix("."), error["input"]
        if isinstance(given, dict):  # a rule of several keys: of a large block those that it speaks of
            given = {k: v for k, v in given.items() if str(k) in re.findall(r"\w+", message)} or given
        return f"{place} is {shown(given)}; {message}."
    field = legal.at(block, inner)
    given, hint = shown(error["input"]), _hint(field, error["input"])
    return f"{place} is {given}; it should be {legal.legal(field)}{hint}."


def _hint(field: Any, value: Any) -> str:
    """What was meant, where writing it otherwise makes it legal."""
    for meant, words in meanings(value):
        try:
            legal.adapter(field).validate_python(meant)
        except ValidationError:
            continue
        return f" (write {words})"
    return ""


def _plain(value: Any, where: str) -> Any:
    """YAML lists as tuples, which is what frozen blocks hold. Refuses what no machine takes: whole numbers
    beyond float64, texts as long as a book or with a NUL."""
    if isinstance(value, dict):
        return {key: _plain(item, f"{where}.{named(key)}") for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_plain(item, f"{where}.{i}") for i, item in enumerate(value))
    if isinstance(value, str) and len(value) > LETTERS:
        raise Refusal(f"{where} is {shown(value)}; at most {LETTERS} characters are legal of any text.")
    if isinstance(value, str) and any(
        unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in value
    ):
        raise Refusal(f"{where} is {shown(value)}; no text may hold a control character.")
    if isinstance(value, int) and abs(value) > MOST:
        raise Refusal(f"{where} is {shown(value)}; at most {MOST} is legal of any whole number.")
    if isinstance(value, float) and math.isfinite(value) and abs(value) > LARGEST:
        raise Refusal(f"{where} is {shown(value)}; at most {LARGEST:g} is legal of any number.")
    return value
