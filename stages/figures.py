"""The charts of the report as files that a paper takes: SVG and PDF of each."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files, progress
from alchemist.report.chart import drawn
from stages import stage


def run(
    charts: Annotated[Path, typer.Option(help="folder of the specs that stage report wrote, NAME.json")],
    out: Annotated[Path, typer.Option(help="folder to write into: NAME.svg and NAME.pdf")],
) -> None:
    """Draws every chart without a browser."""
    specs = sorted(charts.glob("*.json"))
    with files.whole_folder(out) as draft:
        for path in progress.bar(specs, desc="figures", unit="chart"):
            svg, pdf = drawn(files.read_json(path))
            (draft / f"{path.stem}.svg").write_text(svg, encoding="utf-8")
            (draft / f"{path.stem}.pdf").write_bytes(pdf)
    print(f"wrote {out}: {len(specs)} charts, each as SVG and PDF")


if __name__ == "__main__":
    stage(run)
