"""Keeps a part of a rated pool by the law of one selection, once a seed: python -m stages.prune.

Two tables a seed: SEED.parquet, of the split pool, is what cells train on, so that none is trained on pairs
that it is measured by; ids-SEED.parquet, of every rated pair, are the ids worth training on.
"""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import tables
from alchemist.core.files import whole_folder
from alchemist.core.refusal import Refusal
from alchemist.core.settings.given import section
from alchemist.pruning.laws import law_of, select
from alchemist.pruning.samplers import selection_settings
from stages import stage


def run(
    ratings: Annotated[
        Path, typer.Option(help="folder of the raters' tables: id, rating (higher first) and lent")
    ],
    selection: Annotated[str, typer.Option(help="name of the block in `selections`")],
    ratio: Annotated[float, typer.Option(help="share to keep, larger than 0 and at most 1")],
    out: Annotated[
        Path, typer.Option(help="folder of the kept ids, sorted: SEED.parquet and ids-SEED.parquet")
    ],
) -> None:
    """Keeps round(ratio * N) ids by the law of a selection: of all rated pairs, and of the split pool."""
    settings = selection_settings(section(f"selections.{selection}"), f"selections.{selection}")
    with whole_folder(out) as folder:
        for seed in section("grid.seeds"):
            table = tables.read(table_of(ratings / settings.rater, seed), ["id", "rating", "lent"])
            law = law_of(settings, seed)
            # One at a time, and where nothing is lent once: of tens of millions each takes gigabytes.
            lent = table["lent"].to_numpy()
            ids = own = select(table, ratio, law)
            tables.write(folder / f"ids-{seed}.parquet", ids.to_frame("id"))
            if lent.any():
                own = select(table[~lent], ratio, law)
            tables.write(folder / f"{seed}.parquet", own.to_frame("id"))
            typer.echo(
                f"{selection} keeps {len(ids):,} of {len(table):,} rated pairs for seed {seed} "
                f"({settings.sampler} on {settings.rater}); cells train on {len(own):,} of the "
                f"{int((~lent).sum()):,} in the split pool"
            )
    typer.echo(f"wrote {out}")


def table_of(folder: Path, seed: int) -> Path:
    """The table of a rater: that of the seed, or the one that stands for every seed."""
    names = [name for name in (f"{seed}.parquet", "all.parquet") if (folder / name).is_file()]
    if not names:
        raise Refusal(
            f"{folder} has no table for seed {seed}; name the rater {folder.name} in a list of grid."
        )
    if len(names) > 1:
        raise Refusal(
            f"{folder} has {names[0]} and {names[1]}, of two kinds of rater; remove the one that is not of "
            f"raters.{folder.name}.kind."
        )
    return folder / names[0]


if __name__ == "__main__":
    stage(run)
