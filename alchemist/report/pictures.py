"""The page's pictures: pairs of each decile of a rating, and what the trained cells"""

import base64
import io
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from alchemist.analysis.grid import Cell, Study
from alchemist.analysis.words import number
from alchemist.core import stateless
from alchemist.core.one_line import one_line
from alchemist.core.settings.rater import seeded
from alchemist.pools import store
from alchemist.report.elements import arm_name
from alchemist.report.makeup import deciles
from alchemist.report.material import Material

EXAMPLES = 6  # a decile
MANY = 24  # cells; where there are more, samples of the first seed alone are shown


def examples(rating: "pd.Series[float]", each: int) -> list[list[str]]:
    """`each` ids of every decile, drawn by a hash of the id."""
    places = pd.Series(stateless.id_uniforms(rating.index, "report examples"), index=rating.index)
    order = places.sort_values(kind="stable").index
    grouped = deciles(rating).reindex(order)
    return [list(grouped.index[grouped == decile][:each]) for decile in range(10)]


def example_rows(material: Material) -> dict[str, Any]:
    """Pairs of each decile of the rating of the paper's selection, or of the first rating."""
    study, ours = material.study, material.roles.nearest
    rater = study.selections[ours].rater if ours else next(iter(material.ratings))
    seed = study.grid.seeds[0]
    chosen = examples(material.ratings[rater][seed], EXAMPLES)
    index = material.index.set_index("id")
    rows = []
    for decile, ids in enumerate(chosen):
        pairs = index.loc[ids]
        pixels = store.images(material.pool, pairs)
        rows.append(
            {
                "decile": decile + 1,
                "pairs": [
                    {"uri": picture(image), "caption": one_line(caption), "kind": _kind(material, name)}
                    for image, caption, name in zip(pixels, pairs["caption"], ids, strict=True)
                ],
            }
        )
    return {"rater": rater, "rows": rows, "seed": seed if seeded(study.raters[rater]) else None}


def _kind(material: Material, name: str) -> str:
    return "" if material.kinds is None else str(material.kinds[name])


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


def picture(pixels: NDArray[np.uint8], longest: int = 128) -> str:
    """An image (R, R, 3) as a PNG data URI, not larger than `longest` pixels."""
    drawn = Image.fromarray(pixels)
    if max(drawn.size) > longest:
        drawn.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return data_uri(file.getvalue())


def data_uri(png: bytes) -> str:
    """PNG bytes as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()
