"""Tables for papers: the intervals are those of the pairs, and no cell breaks the language it stands in."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import of_table
from scipy import stats

from alchemist.analysis.words import DASH, MINUS, TIMES
from alchemist.report.elements import Table
from alchemist.report.text_tables import HEAD, as_latex, as_markdown, frame


def test_every_table_is_there_in_both_languages(three: Path, world: Path) -> None:
    made = {path.name for path in (three / "reports/tables").iterdir()}
    names = {
        f"results-{model}-{point}"
        for model in ("xs", "s")
        for point in ("equal_epochs", "equal_images", "best")
    }
    names |= {f"paper-table{i}" for i in (1, 2, 3, 4)} | {"contrasts-once", "verdicts"}
    assert made - {"provenance.csv"} == {f"{name}.{kind}" for name in names for kind in ("md", "tex")}
    assert not list((world / "reports/tables").glob("contrasts-*")), "one seed has no contrast"
    for path in (three / "reports/tables").glob("*.tex"):
        written = path.read_text()
        assert written.isascii(), "any engine of LaTeX takes it"
        assert not re.search(r"(?<!\$)[<>|]|[<>|](?!\$)", written), (
            "which its old fonts print as other letters"
        )


def test_an_arm_stands_beside_random_with_the_interval_of_its_pairs(three: Path) -> None:
    rows = (three / "reports/tables/results-xs-equal_images.md").read_text().splitlines()
    head = [cell.strip() for cell in rows[0].split("|")]
    (found,) = [row for row in rows if row.startswith("| topk") and "20" in row.split("|")[2]]
    cells = dict(zip(head, (cell.strip() for cell in found.split("|")), strict=True))
    ours, random = (of_table(three, name, 0.2, "equal_images", "fd_lite0") for name in ("topk", "random"))
    gaps = ours - random
    half = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / 3**0.5
    ends = f"{gaps.mean():+.1f} [{gaps.mean() - half:+.1f}, {gaps.mean() + half:+.1f}]".replace("-", MINUS)
    assert cells["FD less random, 95 % interval"] == ends
    kid = [of_table(three, name, 0.2, "equal_images", "kid_lite0") for name in ("topk", "random")]
    assert cells[f"KID {TIMES} 1000 less random, 95 % interval"].startswith(
        f"{1000 * (kid[0] - kid[1]).mean():+.1f} ".replace("-", MINUS)
    )
    assert cells["FD (Lite0)"] == f"{np.mean(ours):.1f} ± {ours.std(ddof=1):.1f}"
    full = dict(zip(head, (cell.strip() for cell in rows[2].split("|")), strict=True))
    assert (full["selection"], full["FD less random, 95 % interval"]) == ("full", DASH)


def test_latex_takes_every_table(three: Path, tmp_path: Path) -> None:
    """Their cells too: the hostile ones, and heads of several lines."""
    if (engine := shutil.which("pdflatex")) is None:
        pytest.skip("no pdflatex is here (apt-get install texlive-latex-recommended)")
    hostile = pd.DataFrame({"a_b & c " * 9: ["50 % & #1 $x$ {y} \\input{z} ~^ < \N{MINUS SIGN}1"]})
    (tmp_path / "hostile.tex").write_text(as_latex(hostile), encoding="utf-8")
    found = [*sorted((three / "reports/tables").glob("*.tex")), tmp_path / "hostile.tex"]
    body = "\n\n".join(f"\\input{{{path}}}" for path in found)
    whole = (
        f"\\documentclass{{article}}\\usepackage{{booktabs}}\\begin{{document}}\n{body}\n\\end{{document}}\n"
    )
    (tmp_path / "all.tex").write_text(whole)
    done = subprocess.run(
        [engine, "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    assert (tmp_path / "all.pdf").is_file()


def test_a_long_head_is_lines_one_over_the_other() -> None:
    name = "FD against coded references less random, 95 % interval"
    head = as_latex(pd.DataFrame({"short": ["1"], name: ["2"], "x": ["3"]})).splitlines()[2]
    first, long, last = head.removesuffix(r" \\").split(" & ")
    assert (first, last) == ("short", "x")
    lines = long.removeprefix(r"\shortstack[l]{").removesuffix("}").split(r" \\ ")
    assert " ".join(lines).replace(r"\%", "%") == name
    assert max(map(len, lines)) <= HEAD + 1  # one escape
    word = "one_long_name_that_stays_one"
    assert f"{{{word.replace('_', '!')} \\\\ less random}}".replace("!", "\\_") in as_latex(
        pd.DataFrame({f"{word} less random": ["1"]})
    )


def test_a_cell_of_any_letters_stays_a_cell() -> None:
    table = pd.DataFrame({"a_b": ["50 % & #1 $x$ {y} \\input{z} ~^"], "c|d": ["<script>|\n</script>"]})
    latex = as_latex(table)
    assert r"50 \% \& \#1 \$x\$ \{y\} \textbackslash input\{z\}" in latex
    assert latex.count("&") - latex.count(r"\&") == 2, "one in the head, one in the row"
    (head, _, row) = as_markdown(table).splitlines()
    assert head.replace("\\|", "").count("|") == 3
    assert "&lt;script&gt;" in row
    assert row.replace("\\|", "").count("|") == 3


def test_what_stands_in_small_stands_in_brackets(three: Path) -> None:
    from markupsafe import Markup

    found = frame(Table(["x"], [[Markup("<b>1.0</b><small>+2 &lt; 3</small>")], ["1 < 2"]]))
    assert found["x"].tolist() == ["1.0 (+2 < 3)", "1 < 2"]
