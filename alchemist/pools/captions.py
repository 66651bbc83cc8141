"""When two captions are one."""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from alchemist.core import siphash

_PIECE = 1 << 17  # captions at a time


def normalised(caption: str) -> str:
    """A caption by which two are one: case folded, runs of white space one space, no punctuation at its ends.

    Compatible characters are one too (Unicode's NFKC). A caption of punctuation alone is left empty.
    """
    text = " ".join(unicodedata.normalize("NFKC", caption).casefold().split())
    first, last = 0, len(text)
    while first < last and _ends(text[first]):
        first += 1
    while first < last and _ends(text[last - 1]):
        last -= 1
    return text[first:last]


def _ends(character: str) -> bool:
    """Space and punctuation (Unicode's P): a plus, a currency or an emoji says something."""
    return character == " " or unicodedata.category(character).startswith("P")


def hashes(captions: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit hashes (N,) of the normalised captions, a list or a column of str."""
    out = np.empty(len(captions), dtype=np.uint64)
    for start in range(0, len(captions), _PIECE):
        piece = captions[start : start + _PIECE]
        out[start : start + len(piece)] = siphash.hashes([normalised(caption) for caption in piece])
    return out


def among(captions: Sequence[str], others: Iterable[Sequence[str]]) -> NDArray[np.bool_]:
    """Which captions (N,), normalised, are among others, which come in parts."""
    asked = hashes(captions)
    found = np.zeros(len(asked), dtype=bool)
    for part in others:
        found |= np.isin(asked, hashes(part))
    return found
