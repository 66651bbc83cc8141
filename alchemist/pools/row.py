"""A pair on its way from where it comes from into the store: all that the two know of each other."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SPLITS = ("pool", "meta_val", "evaluation", "scorer")


@dataclass(frozen=True)
class Row:
    """One pair on its way into the store: either an image or a reason why it cannot be used."""

    id: str
    caption: str
    split: str
    group: str
    image: NDArray[np.uint8] | None  # (resolution, resolution, 3)
    reason: str  # "" for a usable pair
    kind: str | None  # planted truth, where there is one


def pixel_hash(image: NDArray[np.uint8]) -> bytes:
    """Sixteen bytes that are equal for equal pixels (BLAKE2b)."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
