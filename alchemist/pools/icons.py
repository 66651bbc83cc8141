"""Drawings of icon and emoji sets that npm has as JSON: the sets, their licences, names, categories, SVG.

A natural pool: several styles of the same things, five skin tones of one person, second names for one
drawing, outlines, logos, flags, and names that often say little. All of that stays. The layout is Iconify's
(https://iconify.design/docs/types/iconify-json.html): `icons.json` and, where a set has categories,
`metadata.json`, both read in memory.
"""

import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alchemist.core.npm import Package
from alchemist.core.refusal import Refusal
from alchemist.core.stateless import id_uniforms

HIDDEN = "withdrawn by its set"
LOST = "second name of no drawing"
TURNED = "turned in a way that is not drawn here"
BROKEN = "SVG that cannot be drawn"
# Why a drawing is not of the clean set.
OTHER_KIND = "flag, or no emoji of Unicode"
VARIANT = "skin tone of a drawing, or turned to the right"
AGAIN = "drawing that has another name already"


@dataclass(frozen=True)
class IconSet:
    """A set of drawings, one package."""

    title: str
    author: str
    licence: str  # SPDX
    package: Package

    @property
    def name(self) -> str:
        """Its prefix, with which every id begins."""
        return self.package.name.rpartition("/")[2]


def _set(title: str, author: str, licence: str, name: str, version: str, digest: str) -> IconSet:
    return IconSet(title, author, licence, Package(f"@iconify-json/{name}", version, f"sha512-{digest}"))


# Authors and licences as info.json and the sets' own files state them.
SETS = (
    _set("Circle Flags", "HatScripts", "MIT", "circle-flags", "1.2.11",
         "vrx2btOkTQ4/P75ElEDnjXShmNTwInXuhhpIQQ6U6YUTdxfWyvm/4ijNG8FX8iWFr+sqqQRCvXpm2RfRtjVXfg=="),
    _set("Emoji One 2, by EmojiTwo", "Emoji One", "CC-BY-4.0", "emojione", "1.2.3",
         "T9+T3HIbJNLKKsmxYKlaYhvnHYkz/HNYTV7SHCXVZPfeUi4FqskY70YeN8yYAZT8cCv7w5vJxS4Q1m8zb9CMMg=="),
    _set("Flat Color Icons", "Icons8", "MIT", "flat-color-icons", "1.2.3",
         "KcmJ7CY0TKFv5GuBjiS4/v++jEcNXna1jfY+yq014tnw/MN/jMI2oYpoMHGuIpYtUqDu7eove+WySnOYO8nS3w=="),
    _set("Fluent Emoji Flat", "Microsoft Corporation", "MIT", "fluent-emoji-flat", "1.2.6",
         "RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw=="),
    _set("Game Icons (https://game-icons.net)",
         "Lorc, Delapouite, John Colburn, Felbrigg, John Redman, Carl Olsen, Sbed, PriorBlue, Willdabeast, "
         "Viscious Speed, Lord Berandas, Irongamer, HeavenlyDog and contributors",
         "CC-BY-3.0", "game-icons", "1.2.4",
         "/HDDZxowXgDJcOEwPspUCq5RuDdl25OyZKdtxqqiPJQNTrWIym7r4StLzIVs77DyNzOWWhH5wDqwYR3WHeDfkg=="),
    _set("SVG Logos", "Gil Barbara; the marks are their owners'", "CC0-1.0", "logos", "1.2.19",
         "ICjDNu2RW4xMk+0YAHyrTj/pW2BHgywcYyvf9DS16upalmSUbg+WqkEYJRim8iVOuVylyo9FFjzWLzACFhj8oA=="),
    _set("Noto Emoji", "Google Inc", "Apache-2.0", "noto", "1.2.9",
         "DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw=="),
    _set("Twemoji, by jdecked", "Twitter, Inc and other contributors", "CC-BY-4.0", "twemoji", "1.2.5",
         "uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw=="),
)  # fmt: skip
# Drawings by another hand, none of them in SETS, to measure by: what MJHQ-30K is to the paper's LAION.
CLEAN = (
    _set("OpenMoji", "OpenMoji", "CC-BY-SA-4.0", "openmoji", "1.2.29",
         "vXdhkqcXVSO6suy+m9LbcUM3OdVyuNOtpV8/als/WqfkQIRxevL5Geb/g+6GH/Qwnq1OqksEmaDGTCmZ5nFKJQ=="),
)  # fmt: skip
_LEFT_OUT = {"Flags", "Extras Openmoji", "Extras Unicode", "openmoji"}  # the last: of no category


@dataclass(frozen=True)
class Drawing:
    """One name of a set: its SVG, or why there is none."""

    id: str  # SET/NAME
    caption: str  # the name in words
    category: str  # as the set has it, or else the set's name
    svg: str
    reason: str = ""


def drawings(icon_set: IconSet, archive: bytes) -> list[Drawing]:
    """Every name of a set in alphabetical order, second names too. `archive` is the package's .tgz.

    Raises Refusal where it is not one of Iconify's layout.
    """
    try:
        icons, facts = _members(archive)
        sorted_by = facts.get("categories", {}).items()
        categories = {name: category for category, names in sorted_by for name in names}
        found = []
        for name in sorted({*icons["icons"], *icons.get("aliases", {})}):
            whole = _whole(name, icons)
            category = categories.get(name) or categories.get(whole.get("origin")) or icon_set.name
            svg, reason = _svg(whole)
            found.append(Drawing(f"{icon_set.name}/{name}", name.replace("-", " "), category, svg, reason))
    except (tarfile.TarError, OSError, EOFError, ValueError, KeyError, AttributeError, TypeError):
        package = icon_set.package
        raise Refusal(
            f"{package.name} {package.version} is not laid out as Iconify lays icons out."
        ) from None
    return found


def _members(archive: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """icons.json and metadata.json, the latter {} where there is none. Nothing is written to a disk."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        parts = {}
        for member in tar:
            file = tar.extractfile(member)
            if file is not None and member.name in ("package/icons.json", "package/metadata.json"):
                parts[member.name] = json.loads(file.read())
    return parts["package/icons.json"], parts.get("package/metadata.json", {})


def _whole(name: str, icons: Any) -> dict[str, Any]:
    """All that is said of a name, with the `origin` that its drawing has; {} for a second name of none.

    What stands at a second name goes before what stands at the name that it is of. Two mirrorings undo each
    other (`hFlip`); as with all values that are left out, the set's own or Iconify's hold.
    """
    bodies, seconds = icons["icons"], icons.get("aliases", {})
    chain: list[str] = []
    while name not in bodies and name in seconds and name not in chain:
        chain.append(name)
        name = seconds[name]["parent"]
    if name not in bodies:
        return {}
    parts = [bodies[name], *(seconds[one] for one in reversed(chain))]
    found = {"left": 0, "top": 0, "width": 16, "height": 16, **icons}
    for part in parts:
        found |= part
    return found | {"origin": name, "hFlip": sum(bool(part.get("hFlip")) for part in parts) % 2}


def _svg(whole: dict[str, Any]) -> tuple[str, str]:
    """The SVG and "", or "" and the reason why there is none."""
    if not whole:
        return "", LOST
    if whole.get("hidden"):
        return "", HIDDEN
    if whole.get("rotate") or whole.get("vFlip"):
        return "", TURNED
    left, top, width, height = (whole[key] for key in ("left", "top", "width", "height"))
    body = whole["body"]
    if whole["hFlip"]:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    # A square whatever the view is: the drawing is fitted into it and not stretched.
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="64" height="64" viewBox="{left} {top} {width} {height}">{body}</svg>'
    ), ""


def curated(found: Iterable[Drawing]) -> list[Drawing]:
    """The same drawings; flags, other signs than Unicode's emoji, variants and second names have a reason.

    By names, categories and SVG alone: nobody looked at what a model makes of them.
    """
    kept, seen = [], set[str]()
    for one in found:
        kept.append(replace(one, reason=one.reason or _unfit(one, seen)))
        if not kept[-1].reason:
            seen.add(one.svg)
    return kept


def _unfit(drawing: Drawing, seen: set[str]) -> str:
    """Why a drawing is not of the clean set, "" where it is; `seen`: the SVG of those that are."""
    if drawing.category in _LEFT_OUT:
        return OTHER_KIND
    if "skin tone" in drawing.caption or "facing right" in drawing.caption:
        return VARIANT
    return AGAIN if drawing.svg in seen else ""


def ordered(found: list[Drawing], shuffled: bool) -> list[Drawing]:
    """By set and name, as folders are sorted by their subject; or in the order of a hash of the ids."""
    by_name = sorted(found, key=lambda one: one.id)
    if not shuffled or not by_name:
        return by_name
    places = id_uniforms([one.id for one in by_name], "icons")
    return [by_name[place] for place in np.argsort(places, kind="stable")]


def painted(drawing: Drawing, side: int) -> bytes | None:
    """The drawing as a PNG of side x side pixels, whole and centred on white; None where it is broken."""
    import resvg_py

    try:
        # Without the fonts of the machine, so that a drawing is the same everywhere; no set has text.
        png = resvg_py.svg_to_bytes(
            svg_string=drawing.svg, width=side, height=side, background="white", skip_system_fonts=True
        )
    except ValueError:
        return None
    return bytes(png)
