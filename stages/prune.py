"""Keeps a part of a rated pool by the law of one selection: python -m stages.prune."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from alchemist.files import whole
from alchemist.refusal import Refusal
from alchemist.samplers import select
from alchemist.settings.selection import SelectionSettings
from stages.common import block, stage


def run(
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables: id and rating, higher first")],
    selection: Annotated[str, typer.Option(help="name of the block in `selections`")],
    ratio: Annotated[float, typer.Option(help="share to keep, larger than 0 and at most 1")],
    out: Annotated[Path, typer.Option(help="parquet of the kept ids, sorted")],
) -> None:
    """Keeps round(ratio * N) ids of a rating table by the law of a selection."""
    settings = block(SelectionSettings, f"selections.{selection}")
    path = ratings / f"{settings.rater}.parquet"
    if not path.is_file():
        raise Refusal(
            f"selections.{selection}.rater is {settings.rater!r}, which has no table in {ratings}: "
            "name it in grid.raters or, where it reads planted truth, in grid.oracles."
        )
    table = pd.read_parquet(path, columns=["id", "rating"])
    kept = select(table, ratio, settings)
    with whole(out) as draft:
        kept.to_frame("id").to_parquet(draft, index=False)
    typer.echo(
        f"{selection} keeps {len(kept):,} of {len(table):,} pairs ({settings.sampler} on {settings.rater})"
    )


if __name__ == "__main__":
    stage(run)
