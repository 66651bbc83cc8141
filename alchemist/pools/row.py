"""A pair on its way from where it comes from into the store: all that the two know of each other."""

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alchemist.pools.place import Place

SPLITS = ("pool", "meta_val", "evaluation", "scorer", "pretraining", "clean")
RARE = ("pretraining", "clean")  # splits that most pools do not have
# What a source says of a pair beside its caption. All pairs of a pool that have any have the same keys, and a
# key has values of one type: a missing number is NaN, a missing text "".
Extra = float | int | str
ORIGIN = "origin"  # the key that says where a pair came from, which a rater may see


@dataclass(frozen=True)
class Located:
    """An image that stays where it lies."""

    place: Place
    size: int  # bytes of the encoded image
    crc: int  # of them, by which a file that changed since is told


# What the store keeps of an image: pixels (resolution, resolution, 3), its encoded bytes, or where they lie.
Image = NDArray[np.uint8] | bytes | Located


def located(place: Place, content: bytes) -> Located:
    """An image whose encoded bytes were read at a place."""
    return Located(place, len(content), crc(content))


def crc(content: bytes) -> int:
    """32 bits by which a change of encoded bytes is told, at gigabytes a second."""
    return zlib.crc32(content)


@dataclass(frozen=True)
class Row:
    """One pair on its way into the store: either an image or a reason why it cannot be used."""

    id: str
    caption: str
    split: str
    group: str
    image: Image | None
    reason: str  # "" for a usable pair
    kind: str | None  # planted truth, where there is one
    pixels: bytes = b""  # `pixel_hash` of what the image decodes to; of an array it may be left to the store
    source: str = ""  # the block of `pools:` that the pair is of
    extra: Mapping[str, Extra] = field(default_factory=dict)
    labels: Mapping[str, Extra] = field(default_factory=dict)  # kept with planted truth
    lent: bool = False  # a person's own pair that a share put in another split than pool: rated all the same
    copy_of: str = ""  # what the pair is planted as a copy of, where measuring may know it: one name for all


def pixel_hash(image: NDArray[np.uint8]) -> bytes:
    """Sixteen bytes that are equal for equal pixels (BLAKE2b)."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
