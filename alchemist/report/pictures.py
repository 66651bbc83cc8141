"""The page's pictures: what the trained cells draw, and small ones of pairs."""

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alchemist.analysis.grid import Cell, Study
from alchemist.analysis.words import number
from alchemist.report.elements import arm_name
from alchemist.report.material import Material

MANY = 24  # cells; where there are more, samples of the first seed alone are shown


def pictured(study: Study) -> list[Cell]:
    """Cells whose samples are shown: all, or those of the first seed where there are many."""
    cells = study.cells()
    return cells if len(cells) <= MANY else [cell for cell in cells if cell.seed == study.grid.seeds[0]]


def sheets(material: Material) -> dict[str, Any]:
    """The sample grids of the cells that are shown."""
    many = len(material.study.models()) > 1, len(material.study.grid.seeds) > 1
    out = []
    for cell in pictured(material.study):
        title = arm_name(cell.selection, cell.ratio)
        title += (f", model {cell.model}" if many[0] else "") + (f", seed {cell.seed}" if many[1] else "")
        images = material.scores[cell.name]["checkpoints"][-1]["images"]
        uri = data_uri(material.sheets[cell.name])
        out.append({"title": title, "images": number(images), "uri": uri, "cell": cell.name})
    left_out = len(material.study.cells()) - len(out)
    return {"cells": out, "left_out": left_out, "seed": material.study.grid.seeds[0]}


def picture(pixels: NDArray[np.uint8], longest: int = 128, kind: str = "png") -> str:
    """An image (R, R, 3) as a data URI, not larger than `longest` pixels."""
    drawn = Image.fromarray(pixels)
    if max(drawn.size) > longest:
        drawn.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, kind)
    return data_uri(file.getvalue(), kind)


def thumbnail(pixels: NDArray[np.uint8]) -> str:
    """A small image as a data URI, a kilobyte or some: hundreds are in the page."""
    small = max(pixels.shape) <= 48  # drawn pixel by pixel, where PNG is small and exact
    return picture(pixels) if small else picture(pixels, 96, "webp")


def data_uri(image: bytes, kind: str = "png") -> str:
    """The bytes of an image as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
