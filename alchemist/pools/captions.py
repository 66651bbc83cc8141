"""When two captions are one."""

import string
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from alchemist.core import siphash

_ENDS = string.punctuation + string.whitespace + "…“”„‘’«»‹›。、！？·–—¡¿"
_PIECE = 1 << 17  # captions at a time


def normalised(caption: str) -> str:
    """A caption by which two are one: case folded, runs of white space one space, no punctuation at its ends.

    Compatible characters are one too (Unicode's NFKC). A caption of punctuation alone is left empty.
    """
    return " ".join(unicodedata.normalize("NFKC", caption).casefold().split()).strip(_ENDS)


def hashes(captions: Sequence[str]) -> NDArray[np.uint64]:
    """64-bit hashes (N,) of the normalised captions, a list or a column of str."""
    out = np.empty(len(captions), dtype=np.uint64)
    for start in range(0, len(captions), _PIECE):
        piece = captions[start : start + _PIECE]
        out[start : start + len(piece)] = siphash.hashes([normalised(caption) for caption in piece])
    return out
