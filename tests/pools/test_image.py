import io
import itertools
import struct

import numpy as np
import pytest
from PIL import Image, ImageOps
from pool_helpers import encoded, picture, png_header

from alchemist.pools import base
from alchemist.pools.image import decode


def decoded(image, resolution=8, kind="PNG", **options):
    pixels, reason = decode(encoded(image, kind, **options), resolution)
    assert reason == ""
    assert pixels.shape == (resolution, resolution, 3)
    assert pixels.dtype == np.uint8
    return pixels


def test_alpha_is_laid_on_white():
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    assert (decoded(clear) == 255).all()
    half = decoded(Image.new("RGBA", (8, 8), (0, 0, 0, 128)))
    assert abs(int(half[0, 0, 0]) - 127) <= 1
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    assert (decoded(palette, transparency=1) == 255).all()
    grey = Image.new("LA", (8, 8), (0, 0))
    assert (decoded(grey) == 255).all()


def test_orientation_is_applied():
    source = picture(1, (16, 16))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        tagged = Image.open(io.BytesIO(encoded(source, exif=exif)))
        wanted = np.asarray(ImageOps.exif_transpose(tagged))
        assert (decoded(source, 16, exif=exif) == wanted).all()
    exif[0x0112] = 6  # turned by a quarter, clockwise
    assert (decoded(source, 16, exif=exif) == np.rot90(np.asarray(source), -1)).all()


@pytest.mark.parametrize(("width", "height"), [(48, 16), (16, 48), (17, 16), (16, 16)])
def test_the_crop_is_the_centre_square(width, height):
    wide = picture(2, (height, width))
    left, top = (width - 16) // 2, (height - 16) // 2
    assert (decoded(wide, 16) == np.asarray(wide)[top : top + 16, left : left + 16]).all()


def test_pixels_outside_the_crop_do_not_bleed_in():
    pixels = np.zeros((64, 192, 3), np.uint8)
    pixels[:, :64], pixels[:, 128:] = 255, 255
    assert (decoded(Image.fromarray(pixels), 16) == 0).all()


def test_resizing_is_antialiased():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert abs(decoded(Image.fromarray(stripes), 8)[2:-2, 2:-2].astype(int) - 127).max() < 12


def test_grey_of_16_bits_is_scaled_not_clipped():
    ramp = np.repeat(np.linspace(0, 65535, 16).astype(np.uint16)[None], 16, 0)
    values = decoded(Image.fromarray(ramp), 16)[0, :, 0].astype(int)
    assert (abs(values - np.linspace(0, 255, 16)) <= 1).all()


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_modes_become_rgb(mode):
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    assert decoded(picture(3, (16, 16)).convert(mode), kind=kind).any()


def test_frames_that_do_not_move_are_no_animation():
    still = encoded(picture(1).convert("P"), "GIF")
    assert decode(still, 8)[1] == ""
    moving = encoded(picture(1), "GIF", save_all=True, append_images=[picture(2)])
    assert decode(moving, 8) == (None, base.ANIMATED)
    webp = encoded(picture(1), "WEBP", save_all=True, append_images=[picture(2)])
    assert decode(webp, 8) == (None, base.ANIMATED)
    phone = encoded(picture(1), "MPO", save_all=True, append_images=[picture(2)])
    assert decode(phone, 8)[1] == ""


@pytest.mark.filterwarnings("error")
def test_size_is_checked_before_decoding():
    assert decode(png_header(21_000, 10_000), 8) == (None, base.TOO_LARGE)
    assert decode(png_header(1_000_000, 1_000_000), 8) == (None, base.TOO_LARGE)
    assert decode(png_header(100, 100), 8) == (None, base.UNREADABLE_IMAGE)
    grey = encoded(Image.new("L", (1200, 1000)))
    assert decode(grey, 8, 11) == (None, base.TOO_LARGE)  # a byte a pixel, and strips of half a million
    assert decode(grey, 8, 15)[1] == ""
    assert decode(encoded(picture(1, (600, 600))), 8, 2) == (None, base.TOO_LARGE)  # the file alone is 1 MB


def whole(image, resolution):
    """The square by copies of the whole, as it should be by strips."""
    image = ImageOps.exif_transpose(image)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS))


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "LA", "RGBA", "I;16", "1"])
@pytest.mark.parametrize("size", [(901, 1203), (1201, 800)])
def test_strips_give_the_pixels_of_the_whole(mode, size):
    base_picture = picture(5, (40, 30)).resize(size)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(base_picture.convert("L")).astype(np.uint16) * 250)
    elif mode in ("LA", "RGBA"):
        image = base_picture.convert(mode)
        image.putalpha(picture(6, (30, 40)).convert("L").resize(size))
    else:
        image = base_picture.convert(mode)
    content = encoded(image, compress_level=1)
    for resolution in (16, 44):
        wanted = whole(Image.open(io.BytesIO(content)), resolution)
        assert (decode(content, resolution)[0] == wanted).all()


def test_strips_of_turned_pictures_give_the_pixels_of_the_whole():
    for orientation, size in itertools.product(range(1, 9), [(1003, 806), (806, 1003)]):  # two strips each
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = encoded(picture(5, (40, 30)).resize(size), "JPEG", exif=exif)
        wanted = whole(Image.open(io.BytesIO(content)), 32)
        assert (decode(content, 32)[0] == wanted).all()


def test_a_jpeg_that_takes_too_much_is_decoded_at_a_part_of_its_side():
    smooth = picture(7, (8, 8)).resize((1600, 1200), Image.Resampling.BICUBIC)
    content = encoded(smooth, "JPEG", quality=95)
    full = decode(content, 16)[0].astype(int)
    for largest in (17, 14, 5):
        small, reason = decode(content, 16, largest)
        assert reason == ""
        assert 0 < abs(small.astype(int) - full).max() <= 3
    assert decode(content, 700, 14) == (None, base.TOO_LARGE)  # a half would be less than the resolution
    # All coefficients of a progressive one are held, however small it is decoded.
    slow = encoded(smooth, "JPEG", quality=95, progressive=True)
    assert decode(slow, 16, 17)[1] == ""
    assert decode(slow, 16, 5) == (None, base.TOO_LARGE)


def test_numbers_of_tags_count_and_scans_end():
    plain = encoded(picture(3), "TIFF")
    for form in ("<", ">"):
        tags = [(256, 4, 1, 1), (257, 4, 1, 1), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, 50_000, 200)]
        table = b"".join(struct.pack(f"{form}HHII", *tag) for tag in tags)
        head = (b"II*\0" if form == "<" else b"MM\0*") + struct.pack(f"{form}IH", 8, len(tags))
        assert decode(head + table + bytes(200_000), 8, 4) == (None, base.TOO_LARGE)
        assert decode(head + table + bytes(200_000), 8, 8)[1] != base.TOO_LARGE
    assert decode(plain, 8, 1)[1] == ""
    exif = Image.Exif()
    exif[0x9286] = b"x" * 40_000
    assert decode(encoded(picture(3), exif=exif), 8, 1) == (None, base.TOO_LARGE)
    assert decode(encoded(picture(3), exif=exif), 8, 3)[1] == ""
    slow = encoded(picture(3, (40, 40)), "JPEG", progressive=True)
    last = slow[slow.rindex(b"\xff\xda") : -2]
    assert decode(slow[:-2] + 50 * last + slow[-2:], 8)[1] == ""
    assert decode(slow[:-2] + 200 * last + slow[-2:], 8) == (None, base.UNREADABLE_IMAGE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_broken_bytes_are_told(kind):
    assert decode(None, 8) == (None, base.MISSING_IMAGE)
    whole = encoded(picture(4, (64, 64)), kind)
    for length in (0, 1, 10, 100, len(whole) // 2):
        assert decode(whole[:length], 8) == (None, base.UNREADABLE_IMAGE)
    assert decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 8)[0] is None
