"""Keeps a part of a rated pool by the law of one selection, once a seed: python -m stages.prune."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from alchemist.core.files import whole, whole_folder
from alchemist.core.refusal import Refusal
from alchemist.pruning.laws import select
from alchemist.pruning.samplers import selection_settings
from alchemist.raters.table import rater_settings
from alchemist.settings.rater import table_name
from stages.common import section, stage


def run(
    ratings: Annotated[Path, typer.Option(help="folder of the raters' tables: id and rating, higher first")],
    selection: Annotated[str, typer.Option(help="name of the block in `selections`")],
    ratio: Annotated[float, typer.Option(help="share to keep, larger than 0 and at most 1")],
    out: Annotated[Path, typer.Option(help="folder of the kept ids, sorted: SEED.parquet")],
) -> None:
    """Keeps round(ratio * N) ids of each seed's rating table by the law of a selection."""
    settings = selection_settings(section(f"selections.{selection}"), f"selections.{selection}")
    rater = rater_settings(section(f"raters.{settings.rater}"), f"raters.{settings.rater}")
    with whole_folder(out) as folder:
        for seed in section("grid.seeds"):
            path = ratings / table_name(settings.rater, rater, seed)
            if not path.is_file():
                raise Refusal(
                    f"selections.{selection}.rater is {settings.rater!r}, which has no table {path}: "
                    f"name it in grid.{rater.named_in}."
                )
            table = pd.read_parquet(path, columns=["id", "rating"])
            # The draw differs with the seed even where the rating does not.
            chosen = select(table, ratio, settings.model_copy(update={"seed": settings.seed + seed}))
            with whole(folder / f"{seed}.parquet") as draft:
                chosen.to_frame("id").to_parquet(draft, index=False)
            typer.echo(
                f"{selection} keeps {len(chosen):,} of {len(table):,} pairs for seed {seed} "
                f"({settings.sampler} on {settings.rater})"
            )


if __name__ == "__main__":
    stage(run)
