"""Structs in Thrift's compact protocol: the fields that are asked for are read, and all else is skipped.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_DEEP = 16
_WIDTHS = {1: 0, 2: 0, 3: 1, 7: 8}  # bytes of true, false, a byte and a double
_WHOLE, _TEXT, _LISTS, _STRUCT = (4, 5, 6), 8, (9, 10), 12

KEEP = None  # what is asked of a whole number or of text


@dataclass(frozen=True)
class Each:
    """What is asked of a list: of each item, and what is made of it."""

    item: "Asked"
    made: Callable[[Any], Any] = lambda item: item


Asked = Mapping[int, Any] | Each | None


def struct(data: bytes, place: int, asked: Mapping[int, Any], depth: int = 0) -> tuple[dict[int, Any], int]:
    """The fields of a struct that `asked` names by their numbers, and where it ends.

    Raises IndexError where it does not end in `data`, and ValueError or KeyError for what is no such struct.
    """
    if depth == _DEEP:
        raise ValueError("too deep")
    fields: dict[int, Any] = {}
    number = 0
    while kind := data[place]:
        number += kind >> 4
        place += 1
        if not kind >> 4:
            number, place = _whole(data, place)
        if number in asked:
            fields[number], place = _value(data, place, kind & 15, asked[number], depth)
        else:
            place = _skipped(data, place, kind & 15, depth)
    return fields, place + 1


def _value(data: bytes, place: int, kind: int, asked: Asked, depth: int) -> tuple[Any, int]:
    if asked is KEEP and kind in _WHOLE:
        return _whole(data, place)
    if asked is KEEP and kind == _TEXT:
        length, place = _number(data, place)
        return data[place : place + length], place + length
    if isinstance(asked, Each) and kind in _LISTS:
        count, kind, place = _list(data, place)
        items = []
        for _ in range(count):
            item, place = _value(data, place, kind, asked.item, depth + 1)
            items.append(asked.made(item))
        return items, place
    if isinstance(asked, Mapping) and kind == _STRUCT:
        return struct(data, place, asked, depth + 1)
    raise ValueError("another type than was asked for")


def _skipped(data: bytes, place: int, kind: int, depth: int) -> int:
    """Where a value ends."""
    if kind in _WHOLE:
        while data[place] > 127:
            place += 1
        return place + 1
    if kind == _TEXT:
        length, place = _number(data, place)
        return place + length
    if kind == _STRUCT:
        return struct(data, place, {}, depth + 1)[1]
    if kind in _LISTS:
        count, kind, place = _list(data, place)
        for _ in range(count):
            # Truth values take a byte each in a list.
            place = place + 1 if kind in (1, 2) else _skipped(data, place, kind, depth + 1)
        return place
    return place + _WIDTHS[kind]


def _list(data: bytes, place: int) -> tuple[int, int, int]:
    """How many items a list has, their type, and where they begin."""
    first, place = data[place], place + 1
    count, kind = first >> 4, first & 15
    if count == 15:
        count, place = _number(data, place)
    if count > len(data):
        raise ValueError("a list of more items than there are bytes")
    return count, kind, place


def _number(data: bytes, place: int) -> tuple[int, int]:
    found = shift = 0
    while True:
        byte, place = data[place], place + 1
        found |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return found, place


def _whole(data: bytes, place: int) -> tuple[int, int]:
    """A whole number with its sign, by zigzag."""
    found, place = _number(data, place)
    return found >> 1 ^ -(found & 1), place
