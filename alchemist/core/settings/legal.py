"""What is legal, in words: of a key its nearest neighbours, of a value its type and range."""

import difflib
import itertools
import types
from collections.abc import Collection, Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.fields import FieldInfo

from alchemist.core.refusal import Refusal
from alchemist.core.shown import named, shown

TYPES = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}
BASE = "base"  # of a named block: another one of its table, which it takes over (alchemist.params.inherit)
STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # as alchemist.core.settings.Settings is
NAMED = 300  # characters of the names that one sentence lists
LONG = 100  # letters of a word that is near to no name


def wrong_key(place: str, key: object, names: Iterable[str]) -> str:
    """The sentence for a key that there is not; `place` is its dotted key, with `key` as its last part."""
    names = list(names)
    above = place.removesuffix(str(key))
    return f"{above}{named(key)} is not a known key{_near(key, names)}; legal keys are {listed(names)}."


def wrong_value(place: str, value: object, names: Iterable[str]) -> str:
    """The sentence for a value that names nothing."""
    names = list(names)
    return f"{place} is {shown(value)}{_near(value, names)}; legal values are {listed(names)}."


def one_of(place: str, value: object, names: Collection[str]) -> None:
    """Refuses a value at a dotted key that is none of the names."""
    if not isinstance(value, str) or value not in names:
        raise Refusal(wrong_value(place, value, names))


def listed(names: list[str]) -> str:
    """Names with commas; of very many the first."""
    first = list(
        itertools.takewhile(lambda size: size <= NAMED, itertools.accumulate(len(n) + 2 for n in names))
    )
    more = len(names) - len(first)
    return ", ".join(names[: len(first)]) + (f" and {more} more" if more else "") or "none"


def tag(value: Any, where: str, key: str, names: Iterable[str]) -> str:
    """What a block says at `key`, one of `names`, which tells its class. Raises Refusal for all else."""
    names = list(names)
    if not isinstance(value, dict):
        words = f"it should be a block with the key {key}, one of {listed(names)}"
        raise Refusal(f"{where} is {shown(value)}; {words}.")
    if key not in value:
        legal_keys = [key, BASE]  # misspelt, either is missing too
        wrong = [other for other in value if isinstance(other, str) and _near(other, legal_keys)]
        if wrong:
            near, words = _near(wrong[0], legal_keys), f"{key} should be one of {listed(names)}"
            raise Refusal(f"{where}.{named(wrong[0])} is not a known key{near}; {words}.")
        raise Refusal(f"{where}.{key} is missing; legal values are {listed(names)}.")
    given = value[key]
    if not isinstance(given, str) or given not in names:
        raise Refusal(wrong_value(f"{where}.{key}", given, names))
    return given


def _near(word: object, names: list[str]) -> str:
    if not isinstance(word, str) or len(word) > LONG:
        return ""
    # One letter off first, of which difflib thinks little in a short word.
    close = [name for name in names if one_letter_off(word, name)] or difflib.get_close_matches(
        word, names, n=1
    )
    return f", nearest to {close[0]}" if close else ""


def one_letter_off(word: str, name: str) -> bool:
    """Whether a letter more, less, another, or two turned round, or capitals, are all that differ."""
    word, name = word.lower(), name.lower()
    start = next(
        (i for i, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), min(len(word), len(name))
    )
    a, b = word[start:], name[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2][::-1], a[2:]) == (b[:2], b[2:])


def at(block: type[BaseModel], place: tuple[int | str, ...]) -> Any:
    """The field or the type of an item at a place inside a block; None where it cannot be told."""
    found: Any = block
    for part in place:
        if isinstance(part, int):
            found = next((get_args(kind)[0] for kind in _options(found) if get_origin(kind) is tuple), None)
        else:
            blocks = [kind for kind in _options(found) if _is_block(kind) and part in kind.model_fields]
            tables = [get_args(kind)[1] for kind in _options(found) if get_origin(kind) is dict]
            found = blocks[0].model_fields[part] if blocks else next(iter(tables), None)
        if found is None:
            return None
    return found


def place(block: type[BaseModel], given: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Where pydantic found a mistake, without the names that it has for the types of a union, as `float`."""
    found: tuple[int | str, ...] = ()
    tagged = False
    for part in given:
        options = [kind for kind in _options(at(block, found) if found else block) if kind is not type(None)]
        if len(options) > 1 and not tagged and at(block, (*found, part)) is None:
            tagged = True
        else:
            found, tagged = (*found, part), False
    return found


def block_at(block: type[BaseModel], place: tuple[int | str, ...]) -> type[BaseModel]:
    """The class of the block at a place inside a block."""
    return next(kind for kind in _options(at(block, place) if place else block) if _is_block(kind))


def legal(kind: Any) -> str:
    """What a field or type takes, in words that follow `it should be`."""
    kind, rules = _parts(kind)
    options = [option for option in _ranged(kind) if option is not type(None)]
    words = " or ".join(_one(option, rules) for option in options)
    return words + (" or null" if type(None) in _options(kind) else "")


def adapter(kind: Any) -> TypeAdapter[Any]:
    """What holds a value against a field or type as a block does."""
    held = kind
    if isinstance(kind, FieldInfo):
        held = Annotated[kind.annotation, *kind.metadata] if kind.metadata else kind.annotation
    return TypeAdapter(held, config=None if _is_block(held) else STRICT)


def _one(kind: Any, rules: dict[str, Any]) -> str:
    kind, own = _parts(kind)
    rules = rules | own
    if get_origin(kind) is Literal:
        names = [str(value) for value in get_args(kind)]
        return ", ".join(names[:-1]) + f" or {names[-1]}" if len(names) > 1 else names[0]
    if get_origin(kind) is tuple:
        least = " with at least one item" if rules.get("min_length") else ""
        of, *others = get_args(kind)
        exact = "" if others == [...] else f" of {1 + len(others)} items"
        return f"a list{exact or least}, each {legal(of)}"
    if get_origin(kind) is dict:
        of = get_args(kind)[1]
        return "a block of names" if of is Any else f"a block of names, each {legal(of)}"
    if _is_block(kind):
        return f"a block with the keys {', '.join(kind.model_fields)}"
    return TYPES.get(kind, "another value") + _range(rules)


def _range(rules: dict[str, Any]) -> str:
    """As `, from 0 to 1`."""
    bounds = []
    for key, words in (("ge", "at least"), ("gt", "larger than"), ("le", "at most"), ("lt", "less than")):
        if key in rules:
            bounds.append(f"{words} {rules[key]:g}")
    if "multiple_of" in rules:
        bounds.append(f"a multiple of {rules['multiple_of']:g}")
    if "pattern" in rules:
        bounds.append(f"of the pattern {rules['pattern']}")
    if not bounds:
        return ", one letter at least" if rules.get("min_length") else ""
    return ", " + " and ".join(bounds)


def _parts(kind: Any) -> tuple[Any, dict[str, Any]]:
    """A field's or an annotated type's own type, and its bounds by name."""
    if isinstance(kind, FieldInfo):
        bare, metadata = kind.annotation, kind.metadata
    elif get_origin(kind) is Annotated:
        bare, *given = get_args(kind)
        metadata = [
            rule for item in given for rule in (item.metadata if isinstance(item, FieldInfo) else [item])
        ]
    else:
        return kind, {}
    rules: dict[str, Any] = {}
    for rule in metadata:
        for key in ("ge", "gt", "le", "lt", "multiple_of", "min_length", "pattern"):
            if (
                isinstance(rule, annotated_types.BaseMetadata)
                and (bound := getattr(rule, key, None)) is not None
            ):
                rules[key] = bound
    return bare, rules


def _options(kind: Any) -> list[Any]:
    """The types that a union holds, or the one that there is."""
    return [_parts(option)[0] for option in _ranged(kind)]


def _ranged(kind: Any) -> list[Any]:
    """The types that a union holds, each with a range of its own, or the one that there is."""
    bare, _ = _parts(kind)
    if get_origin(bare) in (Union, types.UnionType):
        return [one for option in get_args(bare) for one in _ranged(option)]
    return [kind]


def _is_block(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
