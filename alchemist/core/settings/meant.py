"""What a person may have meant by a value of a wrong type: a number in quotes, yes for true, a lone item."""

import re
from collections.abc import Iterator
from typing import Any

from alchemist.core.shown import shown

TRUE, FALSE = ("yes", "y", "on", "true", "1"), ("no", "n", "off", "false", "0")
NUMBER = re.compile(r"([-+]?)0*(\d+)(?:[.,](\d*))?(?:[eE]([-+]?\d{1,3}))?")


def meanings(value: Any) -> Iterator[tuple[Any, str]]:
    """What it may stand for, likeliest first, each with how YAML has it."""
    single = list(_single(value))
    yield from single
    if not isinstance(value, tuple | list | dict) and value is not None:
        for meant, words in [(value, shown(value)), *single]:
            yield (meant,), f"[{words}]"


def _single(value: Any) -> Iterator[tuple[Any, str]]:
    if isinstance(value, str) and len(value) <= 40:
        yield from _of_text(value.strip().lower())
    elif isinstance(value, tuple | list) and len(value) == 1:
        yield value[0], shown(value[0])
    elif isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        yield int(value), str(int(value))
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        yield str(value), f"'{value}'"


def _of_text(text: str) -> Iterator[tuple[Any, str]]:
    if text in ("null", "none", "~"):
        yield None, "null"
    if text in TRUE or text in FALSE:
        yield text in TRUE, shown(text in TRUE)
    percent = text.endswith("%")
    found = NUMBER.fullmatch(text.rstrip("% ").replace("_", ""))
    if found is None:
        return
    sign, whole, fraction, exponent = found.groups()
    if percent:
        share = float(f"{sign}{whole}.{fraction or 0}") / 100
        yield share, f"{share:g}"
    elif exponent is not None:  # with a point: without one some readers of YAML take it for text
        words = f"{sign}{whole}.{fraction or 0}e{exponent}"
        yield float(words), words
    elif fraction is not None:
        words = f"{sign}{whole}.{fraction or 0}"
        yield float(words), words
    else:
        yield int(f"{sign}{whole}"), f"{sign}{whole}"
        yield float(f"{sign}{whole}"), f"{sign}{whole}.0"
