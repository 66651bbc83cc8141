"""Values and keys as YAML writes them, on one line, short and visible: for the sentences of refusals."""

import math
import re
from itertools import islice
from typing import Any

LONGEST = 80  # characters of one value in a sentence
WIDEST = 120  # of a list or a block
ITEMS = 12  # of a list or a block, more are not looked at
DEEPEST = 4
PLAIN = re.compile(r"[A-Za-z0-9_][\w.-]{0,59}", re.ASCII)
ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\0": "\\0", '"': '\\"', "\\": "\\\\"}


def shown(value: Any, depth: int = 0) -> str:
    """A value of params.yaml as a person writes it; what is long or deep is cut off with an ellipsis."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list | tuple):
        if depth == DEEPEST and value:
            return "[…]"
        return _cut("[", [shown(item, depth + 1) for item in islice(value, ITEMS)], len(value), "]")
    if isinstance(value, dict):
        if depth == DEEPEST and value:
            return "{…}"
        items = [f"{named(k)}: {shown(v, depth + 1)}" for k, v in islice(value.items(), ITEMS)]
        return _cut("{", items, len(value), "}")
    return _number(value) if isinstance(value, int | float) and not isinstance(value, bool) else _word(value)


def named(name: Any) -> str:
    """A key, plain where YAML has it plain."""
    return name if isinstance(name, str) and PLAIN.fullmatch(name) else shown(name)


def visible(text: str, longest: int = LONGEST) -> str:
    """A text on one line: what cannot be seen, or turns what stands beside it, as its escape."""
    out = "".join(_escaped(letter) for letter in text[:longest])
    return out if len(text) <= longest else f"{out}…"


def _quoted(text: str) -> str:
    if len(text) > LONGEST:
        return f'"{visible(text, LONGEST // 2)}" ({len(text)} characters)'
    plain = visible(text)
    return f"'{text}'" if plain == text and "'" not in text else f'"{plain}"'


def _escaped(letter: str) -> str:
    if letter in ESCAPES:
        return ESCAPES[letter]
    if letter.isprintable():  # neither control, nor bidi, nor a surrogate, nor a space other than " "
        return letter
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _cut(left: str, items: list[str], count: int, right: str) -> str:
    """The first items that fit, and an ellipsis for the others."""
    kept, size = list[str](), 0
    for item in items:
        size += len(item) + 2
        if kept and size > WIDEST:
            break
        kept.append(item)
    return left + ", ".join([*kept, "…"] if len(kept) < count else kept) + right


def _number(value: float) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, int) and value.bit_length() > 200:  # Python refuses to write very long ones
        return f"a number of about {int(value.bit_length() * math.log10(2)) + 1} digits"
    return repr(value)


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else _quoted(str(value))
