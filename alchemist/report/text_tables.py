"""The tables of results as a paper or a README takes them: LaTeX (booktabs) and Markdown."""

import html
import re
import textwrap
from collections.abc import Mapping
from typing import Any

import pandas as pd

from alchemist.analysis.metrics import metric as metric_of
from alchemist.analysis.metrics import metric_name, of_model, shown
from alchemist.analysis.statistics import differences, paired
from alchemist.analysis.words import ALL_POINTS, DASH, TIMES, number, percent
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.verdict_tables import contrast_tables, verdict_rows
from alchemist.report.words import figure, interval_text, share_text

LETTERS, LONG = 60, "8cm"  # a column with longer cells is a paragraph of that width
HEAD = 18  # letters of a line of a column's head
_BREAK = "\ue000"  # between them, which stands in no text
# What LaTeX has no letter for, after its own escapes.
_LATEX = {
    "\N{MINUS SIGN}": "$-$", "\N{MULTIPLICATION SIGN}": r"$\times$", "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{DAGGER}": r"\dag{}", "\N{EN DASH}": "--", "\N{NO-BREAK SPACE}": "~", "\N{INFINITY}": r"$\infty$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$", "<": "$<$", ">": "$>$", "|": "$|$",
}  # fmt: skip


def text_tables(material: Material, paper: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """Every result by model and point, the contrasts by view, the verdicts, and each table of the paper."""
    study = material.study
    out = {}
    for model in study.models():
        points = of_model(material.table, model)["point"].unique()
        for point in (name for name in ALL_POINTS if name in points):
            out[f"results-{model}-{point}"] = _results(material, model, point)
    views = [view for view, found in material.contrasts.items() if found]
    for view, (_, table) in zip(views, contrast_tables(material), strict=True):
        out[f"contrasts-{view}"] = frame(table)
    claims = verdict_rows(material.verdicts)[["claim", "verdict", "sentence"]]
    out["verdicts"] = claims.drop_duplicates("claim")
    for part in paper["tables"]:
        out[f"paper-{part['title'].lower().replace(' ', '')}"] = frame(part["table"])
    return out


def _results(material: Material, model: str, point: str) -> pd.DataFrame:
    """A row an arm: mean ± sd of each metric, and its difference to random of that size with its interval."""
    study, names, random = material.study, material.names, material.roles.random
    sure = f", {percent(material.confidence)} interval" if len(study.grid.seeds) > 1 else ""
    rows = []
    for row in material.results(model, point):
        cells = {"selection": row.selection, "keeps": share_text(row.ratio)}
        for metric in row.figures:
            scale, digits = shown(metric, names)
            cells[metric_name(metric, names)] = figure(row, metric, names)
            if random is None:
                continue
            gap = DASH
            if metric in row.to_random:
                arm = row.selection, random, row.ratio, model, point, metric
                each = list(differences(material.table, *arm).values())
                gap = number(scale * each[0], digits, True)
                if len(each) > 1:
                    gap = interval_text(paired(each, material.confidence), digits, True, scale)
            unit = "" if scale == 1 else f" {TIMES} {scale:g}"
            cells[f"{metric_of(metric).word}{unit} less {random}{sure}"] = gap
        rows.append(cells)
    return pd.DataFrame(rows)


def frame(table: Table) -> pd.DataFrame:
    """A table of the page as plain text; what stands there in small stands in brackets."""
    rows = [[_plain(cell) for cell in row] for row in table.rows]
    return pd.DataFrame(rows, columns=[_plain(name) for name in table.head])


def _plain(cell: str) -> str:
    bare = re.sub(r"<small[^>]*>(.*?)</small>", r" (\1)", str(cell))
    return html.unescape(re.sub(r"<[^>]*>", "", bare)) if hasattr(cell, "__html__") else str(cell)


def as_latex(table: pd.DataFrame) -> str:
    """A tabular with booktabs' rules; every letter of the cells is harmless, for any engine of LaTeX."""
    widest = [max(map(len, map(str, table[name])), default=0) for name in table]
    columns = "".join(f"p{{{LONG}}}" if width > LETTERS else "l" for width in widest)
    # A long head is lines one over the other, so that figures say how wide a column is.
    heads = {
        name: _BREAK.join(textwrap.wrap(str(name), HEAD, break_long_words=False, break_on_hyphens=False))
        for name in table
    }
    text = table.rename(columns=heads).to_latex(index=False, escape=True, column_format=columns)
    top, rule, head, *rest = text.split("\n")
    text = "\n".join([top, rule, " & ".join(map(_stacked, re.split(r" (?<!\\)& ", head))), *rest])
    for letter, written in _LATEX.items():
        text = text.replace(letter, written)
    return text


def _stacked(cell: str) -> str:
    """A cell of the head; the last of them is followed by the end of its row."""
    if _BREAK not in cell:
        return cell
    said, end, _ = cell.partition(r" \\")
    lines = said.replace(_BREAK, r" \\ ")
    return f"\\shortstack[l]{{{lines}}}{end}"


def as_markdown(table: pd.DataFrame) -> str:
    """A table in GitHub's Markdown, whose cells are text alone."""

    def safe(cell: object) -> str:
        return html.escape(str(cell), quote=False).replace("|", "\\|").replace("\n", " ")

    table = table.map(safe).rename(columns=safe)
    return str(table.to_markdown(index=False, disable_numparse=True)) + "\n"
