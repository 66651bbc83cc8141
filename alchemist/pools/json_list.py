"""The items of a long JSON list, one after the other."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alchemist.core.refusal import Refusal

CHUNK = 1 << 20  # characters that are read at once
LONGEST = 1 << 24  # characters of an item
_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_END = object()


def items(path: Path) -> Iterator[Any]:
    """Every item; of a list of a gigabyte a few are in memory.

    Raises Refusal where the file is no list, breaks off, or an item is malformed or has more than 16 million
    characters.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            buffer, place, before = "", 0, "["
            while True:
                try:
                    item, end = _next(buffer, place, before)
                except ValueError:  # cut where the buffer ends, as far as can be told
                    more = file.read(CHUNK) if len(buffer) - place < LONGEST else ""
                    if not more:
                        raise
                    buffer, place = buffer[place:] + more, 0
                    continue
                if item is _END:
                    if (buffer[end:] + file.read()).strip():
                        raise ValueError("more follows behind the list")
                    return
                yield item
                place, before = end, ","
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, Refusal):
            raise
        raise Refusal(f"{path} is not a list in JSON: {error}.") from None


def _next(buffer: str, place: int, before: str) -> tuple[Any, int]:
    """The item behind `before`, and where it ends. Raises ValueError where the buffer does not hold both."""
    place = _space(buffer, place)
    mark = buffer[place : place + 1]
    if mark == "]" and before == ",":
        return _END, place + 1
    if mark != before:
        raise ValueError(f"{before} is missing before {buffer[place : place + 20]!r}")
    place = _space(buffer, place + 1)
    if buffer[place : place + 1] == "]" and before == "[":
        return _END, place + 1
    item, end = _DECODER.raw_decode(buffer, place)
    end = _space(buffer, end)
    if buffer[end : end + 1] not in (",", "]"):  # a number that is cut is a number, too
        raise ValueError(f", or ] is missing before {buffer[end : end + 20]!r}")
    return item, end


def _space(buffer: str, place: int) -> int:
    found = _SPACE.match(buffer, place)
    assert found is not None  # it matches nothing, too
    return found.end()
