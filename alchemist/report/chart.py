"""Charts as Vega-Lite: a table, and one of the specs in alchemist/report/charts that draws it.

The same specs serve the page, its figures as files and `dvc plots` (dvc.yaml names them as templates), so
they hold DVC's anchors, such as <DVC_METRIC_X>, in the places of what differs.
"""

import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import vl_convert

FOLDER = Path(__file__).with_name("charts")
# Okabe and Ito's colours, which colour-blind readers can tell apart, without the pale yellow; from the
# seventh on others, for which the legend, a tooltip and a click on a name help.
COLOURS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9",
    "#6A3D9A", "#8C564B", "#7F7F7F", "#A6A600", "#17A2B8", "#A61C3C",
)  # fmt: skip
ROW = 28  # height of a row of names
WIDTH = 400  # of a chart in a file, in pixels of 1/72 inch
INK = "currentColor"  # the page's colour of text, light or dark; black in a file
FONT = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_AXIS = {
    "domainColor": INK, "tickColor": INK, "labelColor": INK, "titleColor": INK, "titleFontWeight": "normal",
    "gridColor": "#888888", "gridOpacity": 0.25, "labelFontSize": 11, "titleFontSize": 11, "tickCount": 5,
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "view": {"stroke": None},
    "axis": _AXIS,
    "title": {"color": INK, "anchor": "start", "fontSize": 13, "fontWeight": 600, "offset": 10},
    "legend": {
        "orient": "bottom", "columns": 4, "labelColor": INK, "labelFontSize": 11, "labelLimit": 240,
        "symbolStrokeWidth": 2, "symbolOpacity": 1,
        "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
    },
    "range": {"category": list(COLOURS)},
}  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """A table and what draws it; `colours` are those of its selections or kinds, where it has some."""

    template: str  # TEMPLATE.json in `FOLDER`
    title: str
    rows: pd.DataFrame
    x: str  # the column that lies along
    x_label: str
    y_label: str = ""
    colours: Mapping[str, str] | None = None
    height: int = 230

    @functools.cached_property
    def _records(self) -> list[dict[str, Any]]:
        return _records(self.rows)  # once for the page and for the file

    def spec(self, width: int | str = "container") -> dict[str, Any]:
        """The whole spec with its data. Equal charts give equal specs."""
        text = json.loads((FOLDER / f"{self.template}.json").read_text(encoding="utf-8"))
        told = {
            "DATA": self._records,
            "TITLE": self.title, "X": self.x, "X_LABEL": self.x_label, "Y_LABEL": self.y_label,
            "PLOT_WIDTH": width, "PLOT_HEIGHT": self.height,
        }  # fmt: skip
        spec: dict[str, Any] = _filled(text, {f"<DVC_METRIC_{name}>": value for name, value in told.items()})
        if self.colours is not None:
            _colour(spec, self.colours)
        described = f"{self.title}; along: {self.x_label}; {len(self.rows)} rows of data."
        return spec | {"$schema": _SCHEMA, "description": described}

    def write(self, folder: Path, name: str) -> None:
        """NAME.csv, the rows, and NAME.json, the spec with them, in black: any tool of Vega-Lite draws it."""
        self.rows.to_csv(folder / f"{name}.csv", index=False)
        spec = self.spec(WIDTH) | {"config": CONFIG}
        text = json.dumps(spec, indent=1).replace(INK, "#000000")
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


def drawn(spec: Mapping[str, Any]) -> tuple[str, bytes]:
    """A chart as SVG, and as PDF, whose fonts lie in another order each time."""
    svg = str(vl_convert.vegalite_to_svg(dict(spec)))
    return svg, bytes(vl_convert.svg_to_pdf(svg))


def colours_of(names: Sequence[str], first: str | None = None) -> dict[str, str]:
    """A colour for each name in its order; that of the text for `first`."""
    out = {} if first is None else {first: INK}
    return out | {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def among(colours: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The colours of some names alone, in their own order."""
    there = set(names)
    return {name: colour for name, colour in colours.items() if name in there}


def as_script(charts: Mapping[str, Chart]) -> str:
    """The charts' specs by name, as JSON that may stand in a script element of HTML."""
    return for_script({"config": CONFIG, "specs": {name: chart.spec() for name, chart in charts.items()}})


def for_script(value: Any) -> str:
    """JSON that may stand in a script element of HTML, whatever texts it holds."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")


@functools.cache
def library(script: str) -> str:
    """Vega, Vega-Lite and Vega-Embed (BSD-3) in one, with a script that uses `vegaEmbed`, for HTML."""
    return str(vl_convert.javascript_bundle(script)).replace("</script", "<\\/script")


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as JSON has them: exact numbers, and null where there is none."""
    plain = rows.replace([np.inf, -np.inf], np.nan).astype(object)
    plain = plain.where(plain.notna(), None)
    return [dict(zip(map(str, plain), row, strict=True)) for row in plain.itertuples(index=False, name=None)]


def _filled(value: Any, told: Mapping[str, Any]) -> Any:
    """The template with its anchors filled."""
    if isinstance(value, dict):
        return {key: _filled(item, told) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, told) for item in value]
    return told.get(value, value) if isinstance(value, str) else value


def _colour(spec: dict[str, Any], colours: Mapping[str, str]) -> None:
    """Gives these to every channel of colour by selection or kind, of a spec and of its layers."""
    color = spec.get("encoding", {}).get("color", {})
    if color.get("field") in ("selection", "kind"):
        color["scale"] = {"domain": list(colours), "range": list(colours.values())}
    for layer in spec.get("layer", ()):
        _colour(layer, colours)
