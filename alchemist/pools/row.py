"""A pair on its way from where it comes from into the store: all that the two know of each other."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

SPLITS = ("pool", "meta_val", "evaluation", "scorer")
# What a source says of a pair beside its caption. All pairs of a pool that have any have the same keys, and a
# key has values of one type: a missing number is NaN, a missing text "".
Extra = float | int | str


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
    extra: Mapping[str, Extra] = field(default_factory=dict)
    labels: Mapping[str, Extra] = field(default_factory=dict)  # kept with planted truth


def pixel_hash(image: NDArray[np.uint8]) -> bytes:
    """Sixteen bytes that are equal for equal pixels (BLAKE2b)."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
