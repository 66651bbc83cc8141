"""Strings from outside as a person is shown them: short, in one line, and harmless to what stands around.

A caption or an id may hold anything. Markup is escaped where a page is made. What HTML does not escape is a
control character, which moves a terminal's cursor, and one that turns the direction of writing, by which
the text after it reads backwards.
"""

import re
import unicodedata

LETTERS = 200
_DIRECTIONS = {
    "\u061c",
    "\u200e",
    "\u200f",
    *map(chr, range(0x202A, 0x202F)),
    *map(chr, range(0x2066, 0x206A)),
}
_SPACE = re.compile(r"[ \t\r\n]+")


def one_line(text: str, letters: int = LETTERS) -> str:
    """At most some `letters` of a text and an ellipsis, its white space as single spaces.

    Control characters, those of direction, separators of lines and lone surrogates appear as escapes, as
    \\u202e.
    """
    # Spaces shorten what is shown, so more is looked at, but never all of a long text.
    line = _SPACE.sub(" ", text[: 4 * letters])
    parts, length = [], 0
    for letter in line:
        parts.append(_visible(letter))
        length += len(parts[-1])
        if length > letters:
            return "".join(parts[:-1]).rstrip() + " …"
    return "".join(parts) + (" …" if len(text) > 4 * letters else "")


def _visible(letter: str) -> str:
    if letter in _DIRECTIONS or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp"):
        return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"
    return letter
