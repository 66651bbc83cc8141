"""One encoded image to pixels: the centre square at the pool's resolution, or the reason why not.

What decoding takes is told from the header, so that no image fills the memory.
"""

import contextlib
import io
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alchemist.core.settings.pool import LARGEST
from alchemist.pools import header, memory
from alchemist.pools.base import ANIMATED, MISSING_IMAGE, TOO_LARGE, UNREADABLE_IMAGE

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
UNREAD = {".avif", ".heic", ".heif", ".ico", ".jp2", ".jxl", ".psd", ".svg"}  # whose pairs are told
# Pillow knows sixty formats, some of which start other programs; these are what pools hold.
_DECODERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit, which warns too: `decode` counts bytes instead
warnings.filterwarnings("ignore", module=r"PIL\.")  # a line for every tag of EXIF that is broken
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_QUARTERS = {5, 6, 7, 8}  # orientations that turn rows into columns
_FROM_RIGHT = {2, 3, 7, 8}  # whose columns, or the rows that they become, run from the other side
_FROM_BELOW = {3, 4, 6, 7}


def decode(
    source: bytes | None, resolution: int, largest: int = LARGEST
) -> tuple[NDArray[np.uint8] | None, str]:
    """An encoded image as (resolution, resolution, 3) and "", or None and the reason. Never raises.

    EXIF orientation applied, alpha laid on white, 16-bit grey scaled, centre square, Lanczos. It takes at
    most `largest` MB, and all threads together no more. A JPEG that would take more is decoded at a half, a
    quarter or an eighth of its side, though not below the resolution.
    """
    if source is None:
        return None, MISSING_IMAGE
    most = largest * 1_000_000
    if 2 * len(source) > most:
        return None, TOO_LARGE
    try:
        with memory.held(most if len(source) > memory.SMALL else 0, most):
            return _decode(source, resolution, most)
    except MemoryError:  # of a header that claims more than there can be
        return None, TOO_LARGE
    except Exception:  # decoders raise nearly every type on broken bytes
        return None, UNREADABLE_IMAGE


def _decode(source: bytes, resolution: int, most: int) -> tuple[NDArray[np.uint8] | None, str]:
    # Opening reads the header alone, but of a TIFF every value of every tag.
    if header.VALUE * header.tiff_values(source) > most:
        return None, TOO_LARGE
    with Image.open(io.BytesIO(source), "r", _DECODERS) as picture:
        takes = header.fitted(picture, source, resolution, most)
        if takes > most:
            return None, TOO_LARGE
        # A phone's JPEG with a preview or depth map (MPO) has frames too, but does not move.
        if picture.format != "MPO" and getattr(picture, "is_animated", False):
            return None, ANIMATED
        with memory.held(takes, most):
            picture.load()
            return _square(picture, resolution), ""


# ---------------------------------------------------------------------- the square


def _square(picture: Image.Image, resolution: int) -> NDArray[np.uint8]:
    """The centre square of a decoded picture, antialiased, as RGB.

    By strips of rows: of a large picture each copy would take as much again. Pillow resizes rows first and
    then columns, so that strips give the same pixels as the whole.
    """
    turn = _orientation(picture)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit grey has no stated range")
    width, height = reversed(picture.size) if turn in _QUARTERS else picture.size
    # Cropped before it is resized, or pixels beside the square would bleed into it.
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    narrow = Image.new("RGB", (resolution, side))
    rows = max(1, header.STRIP // side)
    for first in range(0, side, rows):
        last = min(first + rows, side)
        strip = _turned(picture, turn, (left, top + first, left + side, top + last))
        strip = _rgb(strip).resize((resolution, last - first), Image.Resampling.LANCZOS)
        narrow.paste(strip, (0, first))
    return np.asarray(narrow.resize((resolution, resolution), Image.Resampling.LANCZOS), dtype=np.uint8)


def _orientation(picture: Image.Image) -> int:
    """How EXIF says that a picture is turned, from 1 to 8."""
    with contextlib.suppress(Exception):  # broken EXIF does not make the pixels wrong
        found = picture.getexif().get(0x0112, 1)
        if found in _TURNS:
            ImageOps.exif_transpose(picture.crop((0, 0, 1, 1)))  # raises where the rest of it is broken
            return int(found)
    return 1


def _turned(picture: Image.Image, turn: int, box: tuple[int, int, int, int]) -> Image.Image:
    """A part of the turned picture, `box` in its pixels; the picture itself stays as it is."""
    if turn not in _TURNS:
        return picture.crop(box)
    left, top, right, bottom = box
    width, height = picture.size
    if turn in _QUARTERS:
        left, top, right, bottom = top, left, bottom, right
    if turn in _FROM_RIGHT:
        left, right = width - right, width - left
    if turn in _FROM_BELOW:
        top, bottom = height - bottom, height - top
    return picture.crop((left, top, right, bottom)).transpose(_TURNS[turn])


def _rgb(strip: Image.Image) -> Image.Image:
    if strip.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        strip = Image.fromarray((np.asarray(strip) // 257).astype(np.uint8))
    if strip.has_transparency_data:
        strip = strip.convert("RGBA")
        white = Image.new("RGBA", strip.size, "white")
        strip = Image.alpha_composite(white, strip)
    return strip.convert("RGB")
