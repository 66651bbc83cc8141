"""What decoding an image takes, told from its header before a pixel is read."""

import math
from typing import Literal

from PIL import Image

STRIP = 1 << 19  # pixels that are cropped and converted at once
_SPARE = 24  # bytes a pixel of a strip: its crop, its alpha, the white below, and their sum
VALUE = 100  # bytes of a number of a TIFF or of EXIF as Python's object
_SCANS = 100  # of a JPEG; usual ones have ten, and each goes over the whole image
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # a pixel in Pillow's memory; else four


def fitted(picture: Image.Image, source: bytes, resolution: int, most: int) -> int:
    """Bytes that decoding takes; of a JPEG that takes more than `most` with a part of its side, if that fits.

    Sets the part.
    """
    takes = _takes(picture, source, resolution, 1)
    if picture.format not in ("JPEG", "MPO"):
        return takes
    for part in (2, 4, 8):
        if takes <= most or min(picture.size) < part * resolution:
            break
        smaller = _takes(picture, source, resolution, part)
        if smaller <= most:
            picture.draft(None, (picture.width // part, picture.height // part))
            return smaller
    return takes


def _takes(picture: Image.Image, source: bytes, resolution: int, part: int) -> int:
    """Bytes that it takes to decode a picture, with a part of its side, and to make a square of it."""
    pixels = math.ceil(picture.width / part) * math.ceil(picture.height / part)
    side = min(picture.size) // part
    own = _beside(picture, source) + _BYTES.get(picture.mode, 4) * pixels
    own += VALUE * len(picture.info.get("exif", b"")) // 2
    return len(source) + own + _SPARE * min(pixels, STRIP + 2 * side) + 4 * resolution * side


def _beside(picture: Image.Image, source: bytes) -> int:
    """Bytes that a format takes to decode a picture beside the pixels, measured with Pillow 13."""
    whole = picture.width * picture.height
    if picture.format == "WEBP":  # two canvases and a copy of one; the file, twice
        return 13 * whole + 2 * len(source)
    if picture.format in ("JPEG", "MPO") and _has_many_scans(source):
        if source.count(b"\xff\xda") > _SCANS:
            raise ValueError("scans without an end")
        # All coefficients of all colours wait for the last scan, in blocks, however small the outcome is.
        layers: list[tuple[int, int, int, int]] = picture.layer  # type: ignore[attr-defined]
        across, down = max(layer[1] for layer in layers), max(layer[2] for layer in layers)
        padded = (picture.width + 8 * across) * (picture.height + 8 * down)
        return sum(2 * padded * layer[1] * layer[2] // (across * down) for layer in layers)
    if picture.format == "TIFF":
        tags = picture.tag_v2  # type: ignore[attr-defined]
        rows = min(int(tags.get(278, picture.height)), picture.height)
        piece = int(tags.get(322, picture.width)) * int(tags.get(323, rows))  # of a tile or a strip
        turned = 4 * whole if tags.get(274, 1) != 1 else 0  # as it is loaded
        return piece * max(4, sum(tags.get(258, (8,))) // 8 + 1) + turned
    return 0


def tiff_values(source: bytes) -> int:
    """How many numbers the first table of a TIFF claims that can be there; 0 for another file.

    Bytes and text do not count, which stay as they are.
    """
    if source[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return 0
    order: Literal["little", "big"] = "little" if source[:1] == b"I" else "big"
    # Of the two kinds: where the table's place is, and the width of that, of its length and of a count.
    at, wide, short, long = (8, 8, 8, 8) if b"+" in source[2:4] else (4, 4, 2, 4)

    def number(place: int, width: int) -> int:
        return int.from_bytes(source[place : place + width], order)

    first = number(at, wide)
    entries = min(number(first, short), len(source) // 12)
    places = range(first + short, first + short + entries * (4 + 2 * long), 4 + 2 * long)
    return sum(
        min(number(place + 4, long), len(source)) for place in places if number(place + 2, 2) not in (1, 2, 7)
    )


def _has_many_scans(source: bytes) -> bool:
    """Whether a JPEG is progressive or has its colours one after the other: it is decoded as a whole, then.

    Whatever is no JPEG's beginning counts as such.
    """
    place = 2
    progressive, colours = False, 0
    while source[place : place + 1] == b"\xff":
        mark, size = source[place + 1], int.from_bytes(source[place + 2 : place + 4], "big")
        if mark == 0xFF:  # a filling
            place += 1
            continue
        if mark in (0xC0, 0xC1, 0xC2):
            progressive, colours = mark == 0xC2, source[place + 9]
        if mark == 0xDA:
            return progressive or source[place + 4] < colours
        place += 2 + size
    return True
