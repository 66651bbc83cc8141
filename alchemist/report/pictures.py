"""The page's pictures: what the trained cells draw, and small ones of pairs."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from alchemist.analysis.grid import Cell, Study
from alchemist.analysis.words import number
from alchemist.report.chart import for_script
from alchemist.report.elements import arm_name
from alchemist.report.material import Material

MANY = 24  # cells; where there are more, samples of the first seed alone are shown
ROOM = 3_000_000  # characters of the page for the sample grids of all checkpoints
WIDE = 768  # pixels of a sample grid in the page, at most
PROMPTS = 64  # of a sample grid, at most, eight a row
SMALL = 48 * 8  # pixels of one of small images, eight a row, which are drawn pixel by pixel


def pictured(study: Study) -> list[Cell]:
    """Cells whose samples are shown: all, or those of the first seed where there are many."""
    cells = study.cells()
    return cells if len(cells) <= MANY else [cell for cell in cells if cell.seed == study.grid.seeds[0]]


def sheets(material: Material) -> dict[str, Any]:
    """The sample grids of the cells that are shown: of the last checkpoints, and as JSON of those before.

    `points` are checkpoints to choose from, in images seen: all that some cell has, or where their pictures
    take more than `ROOM` every second, third and so on, counted from the last.
    """
    many = len(material.study.models()) > 1, len(material.study.grid.seeds) > 1
    out, earlier = [], []
    uris = {name: {n: sheet(path) for n, path in of.items()} for name, of in material.sheets.items()}
    every = sorted({images for of in uris.values() for images in of})
    points = fitting(every, {name: {n: len(uri) for n, uri in of.items()} for name, of in uris.items()}, ROOM)
    for cell in pictured(material.study):
        title = arm_name(cell.selection, cell.ratio)
        title += (f", model {cell.model}" if many[0] else "") + (f", seed {cell.seed}" if many[1] else "")
        of = uris[cell.name]
        here = sorted({last_until(list(of), point) for point in points} - {0})
        out.append({"title": title, "images": number(here[-1]), "uri": of[here[-1]], "cell": cell.name})
        at = [[n, number(n), of[n] if n != here[-1] else ""] for n in here]  # the last is in the page already
        earlier.append({"first": number(min(of)), "at": at})
    return {
        "cells": out,
        "left_out": len(material.study.cells()) - len(out),
        "seed": material.study.grid.seeds[0],
        "points": [(n, number(n)) for n in points],
        "every": len(every),
        "data": Markup(for_script(earlier)),
    }


def last_until(images: list[int], point: int) -> int:
    """The last checkpoint that is not above a number of images; 0 where all are."""
    return max((n for n in images if n <= point), default=0)


def fitting(points: list[int], sizes: dict[str, dict[int, int]], room: int) -> list[int]:
    """Points at even steps from the last on, as many as fit: each needs each cell's last one until then.

    `sizes` are those of the checkpoints by cell. The last point is there whatever it takes.
    """
    for step in range(1, len(points) + 1):
        chosen = points[::-1][::step][::-1]
        needed = {(cell, last_until(list(of), point)) for cell, of in sizes.items() for point in chosen}
        if sum(sizes[cell].get(images, 0) for cell, images in needed) <= room:
            return chosen
    return points[-1:]


def sheet(path: Path) -> str:
    """A sample grid as a data URI: images of 32 pixels twice as large, so that colours stay apart.

    Of eight images a row the first `PROMPTS`.
    """
    with Image.open(path) as file:
        high = file.width // 8 * (PROMPTS // 8)
        drawn = file.convert("RGB").crop((0, 0, file.width, min(file.height, high)))
    if drawn.width <= SMALL:
        drawn = drawn.resize((2 * drawn.width, 2 * drawn.height), Image.Resampling.NEAREST)
    elif drawn.width > WIDE:
        drawn.thumbnail((WIDE, drawn.height), Image.Resampling.LANCZOS)
    return encoded(drawn, "webp", quality=85)


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """A small image (R, R, 3) as a data URI, a kilobyte or some: hundreds are in the page."""
    drawn = Image.fromarray(pixels)
    if max(drawn.size) <= 48:  # drawn pixel by pixel, where PNG is small and exact
        return encoded(drawn, "png")
    drawn.thumbnail((96, 96), Image.Resampling.LANCZOS)
    return encoded(drawn, "webp")


def encoded(drawn: Image.Image, kind: str, **options: Any) -> str:
    """An image as a data URI."""
    file = io.BytesIO()
    drawn.save(file, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
