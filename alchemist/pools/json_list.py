"""The items of a long JSON list or object, one after the other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemist.core.refusal import Refusal

CHUNK = 1 << 20  # characters that are read at once
LONGEST = 1 << 20  # characters of an item, which takes some 30 times as many bytes
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_END = object()


def items(path: Path) -> Iterator[Any]:
    """Every item of a list; of one of a gigabyte a few are in memory. Bytes that are no UTF-8 are surrogates.

    Raises Refusal where the file is no list, breaks off, or an item is malformed or has more than two million
    characters.
    """
    return _items(path, "[", "]", "a list")


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """Every key of an object and its value, as `items` gives those of a list; one that repeats, too."""
    return _items(path, "{", "}", "an object")


def _items(path: Path, first: str, last: str, told: str) -> Iterator[Any]:
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            buffer, place, before = "", 0, first
            while True:
                try:
                    item, end = _next(buffer, place, before, first, last)
                except ValueError:  # cut where the buffer ends, as far as can be told
                    more = file.read(CHUNK) if len(buffer) - place < LONGEST else ""
                    if not more:
                        raise
                    buffer, place = buffer[place:] + more, 0
                    continue
                if item is _END:
                    buffer = buffer[end:]
                    while not buffer.strip() and (buffer := file.read(CHUNK)):
                        pass
                    if buffer:
                        raise ValueError("more follows behind it")
                    return
                yield item
                place, before = end, ","
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path} is not {told} in JSON: {error}.") from None


def _next(buffer: str, place: int, before: str, first: str, last: str) -> tuple[Any, int]:
    """The item behind `before`, and where it ends. Raises ValueError where the buffer does not hold both."""
    place = _space(buffer, place)
    mark = buffer[place : place + 1]
    if mark == last and before == ",":
        return _END, place + 1
    if mark != before:
        raise ValueError(f"{before} is missing before {buffer[place : place + 20]!r}")
    place = _space(buffer, place + 1)
    if buffer[place : place + 1] == last and before == first:
        return _END, place + 1
    item, end = _DECODER.raw_decode(buffer, place)
    if first == "{":
        end = _space(buffer, end)
        if not isinstance(item, str) or buffer[end : end + 1] != ":":
            raise ValueError(f"a key and : are missing before {buffer[end : end + 20]!r}")
        value, end = _DECODER.raw_decode(buffer, _space(buffer, end + 1))
        item = item, value
    end = _space(buffer, end)
    if buffer[end : end + 1] not in (",", last):  # a number that is cut is a number, too
        raise ValueError(f", or {last} is missing before {buffer[end : end + 20]!r}")
    return item, end


def _space(buffer: str, place: int) -> int:
    found = _SPACE.match(buffer, place)
    assert found is not None  # it matches nothing, too
    return found.end()
