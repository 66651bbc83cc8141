"""One encoded image to pixels: the centre square at the pool's resolution, or the reason why not."""

import contextlib
import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from alchemist.pools.base import ANIMATED, MISSING_IMAGE, TOO_LARGE, UNREADABLE_IMAGE

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
# Pillow knows sixty formats, some of which start other programs; these are what pools hold.
_DECODERS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_MEGAPIXELS = 178


def decode(source: bytes | None, resolution: int) -> tuple[NDArray[np.uint8] | None, str]:
    """An encoded image as (resolution, resolution, 3) and "", or None and the reason. Never raises.

    EXIF orientation applied, alpha laid on white, 16-bit grey scaled, centre square, Lanczos.
    """
    if source is None:
        return None, MISSING_IMAGE
    try:
        with Image.open(io.BytesIO(source), "r", _DECODERS) as picture:
            # Opening reads the header alone, so that a huge image is told before it fills the memory.
            if picture.width * picture.height > _MEGAPIXELS * 1_000_000:
                return None, TOO_LARGE
            # A phone's JPEG with a preview or depth map (MPO) has frames too, but does not move.
            if picture.format != "MPO" and getattr(picture, "is_animated", False):
                return None, ANIMATED
            picture.load()
            return _square(picture, resolution), ""
    except Image.DecompressionBombError:
        return None, TOO_LARGE
    except Exception:  # decoders raise nearly every type on broken bytes
        return None, UNREADABLE_IMAGE


def _square(picture: Image.Image, resolution: int) -> NDArray[np.uint8]:
    """The centre square of a decoded picture, antialiased, as RGB."""
    with contextlib.suppress(Exception):  # broken EXIF does not make the pixels wrong
        picture = ImageOps.exif_transpose(picture)
    if picture.mode in ("I", "F"):
        raise ValueError("32-bit grey has no stated range")
    # Cropped before it is resized, or pixels beside the square would bleed into it.
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    if picture.mode.startswith("I;16"):
        # Pillow would clip 16-bit grey at 255 instead of scaling it.
        picture = Image.fromarray((np.asarray(picture) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    resized = picture.convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.asarray(resized, dtype=np.uint8)
