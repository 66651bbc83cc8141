"""Figures of the report as SVG that takes its ink from the page, so that it reads in light and dark."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the pale yellow.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = {
    "o": '<circle cx="15" cy="6" r="3.4"/>',
    "s": '<rect x="12" y="3" width="6" height="6"/>',
    "^": '<path d="M15 2l4 7h-8z"/>',
    "D": '<path d="M15 1.6L19.4 6 15 10.4 10.6 6z"/>',
    "v": '<path d="M15 10l4-7h-8z"/>',
    "X": '<path d="M11 4l2-2 2 2 2-2 2 2-2 2 2 2-2 2-2-2-2 2-2-2 2-2z"/>',
    "P": '<path d="M13.6 2h2.8v2.6H19v2.8h-2.6V10h-2.8V7.4H11V4.6h2.6z"/>',
}
_DASHES = ((), (5, 2), (1.5, 1.5), (6, 2, 1.5, 2))
INK = "#010203"  # stands for the page's text colour
_STYLE: Any = {
    "svg.hashsalt": "report",  # ids are otherwise random
    "svg.fonttype": "none",
    "font.family": ["DejaVu Sans"],
    "font.size": 8,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.titlelocation": "left",
    "axes.titlesize": 8.5,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


def look(position: int) -> tuple[str, str]:
    """Colour and marker of the line at a position; no two of the first 42 are alike."""
    markers = list(_MARKERS)
    return COLOURS[position % len(COLOURS)], markers[(position + position // 42) % len(markers)]


def dashes(position: int) -> tuple[float, ...]:
    """Dash pattern of a ratio at a position, full line first."""
    return _DASHES[position % len(_DASHES)]


def swatch(colour: str, marker: str | None = None, dash: Sequence[float] = ()) -> str:
    """A line with its marker, as SVG for a legend in HTML."""
    pattern = f' stroke-dasharray="{" ".join(f"{d:g}" for d in dash)}"' if dash else ""
    mark = f'<g fill="{colour}">{_MARKERS[marker]}</g>' if marker else ""
    line = f'<path d="M1 6h28" stroke="{colour}" stroke-width="1.6" fill="none"{pattern}/>'
    return f'<svg class="swatch" width="30" height="12" viewBox="0 0 30 12">{line}{mark}</svg>'


def chip(colour: str) -> str:
    """A filled square, as SVG for a legend in HTML."""
    box = f'<rect width="12" height="12" fill="{colour}"/>'
    return f'<svg class="swatch" width="12" height="12" viewBox="0 0 12 12">{box}</svg>'


Line = tuple[Sequence[float], Sequence[float], str, str | None, Sequence[float]]


Band = tuple[Sequence[float], Sequence[float], Sequence[float], str]


def lines(title: str, xlabel: str, drawn: Sequence[Line], bands: Sequence[Band] = ()) -> str:
    """One panel; a line has x, y, colour, marker and dash pattern, a band x, low, high and colour."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")
        axes = figure.add_subplot()
        for x, low, high, colour in bands:
            axes.fill_between(x, low, high, color=colour, alpha=0.1, linewidth=0)
        for x, y, colour, marker, dash in drawn:
            style: Any = (0, tuple(dash)) if dash else "-"
            axes.plot(x, y, color=colour, linewidth=1.4, linestyle=style, marker=marker, markersize=5)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.grid(color="#888888", alpha=0.25, linewidth=0.6)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
        return _svg(figure)


def stacked(title: str, shares: pd.DataFrame, colours: Mapping[str, str]) -> str:
    """Bars of shares (rows: deciles, columns: kinds), in the order of `colours`."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(4.6, 2.5), layout="constrained")
        axes = figure.add_subplot()
        bottom = np.zeros(len(shares))
        for kind, colour in colours.items():
            height = shares[kind].to_numpy() if kind in shares else np.zeros(len(shares))
            axes.bar(np.arange(1, len(shares) + 1), 100 * height, 0.86, 100 * bottom, color=colour)
            bottom = bottom + height
        axes.set_title(title)
        axes.set_xlabel("decile of the rating, 1 = best")
        axes.set_ylabel("% of the decile")
        axes.set_xticks(range(1, len(shares) + 1))
        axes.set_ylim(0, 100)
        return _svg(figure)


def thinned(log: Sequence[Mapping[str, float]], most: int = 400) -> list[Mapping[str, float]]:
    """At most `most` rows of a log, evenly spaced, the last one among them."""
    step = -(-len(log) // most) if log else 1
    return list(log[::-1][::step][::-1])


def inline(svg: str, name: str) -> str:
    """SVG for the middle of an HTML page: ids of its own, and a size that the page decides."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", text))
    return re.sub(r'( id="|href="#|url\(#)', rf"\g<1>{name}-", text)


def _svg(figure: Figure) -> str:
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue().replace(INK, "currentColor")


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
