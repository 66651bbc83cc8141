"""Rates a planted pool by its truth, as the upper bound of every rater: python -m stages.oracle."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import tables
from alchemist.core.refusal import Refusal
from alchemist.pools import store
from alchemist.pools.index import rated_rows
from alchemist.pools.truth import read_truth
from alchemist.raters.table import KINDS
from stages import stage


def run(
    pool: Annotated[Path, typer.Option(help="folder of the prepared pool")],
    truth: Annotated[Path, typer.Option(help="folder of the planted kinds")],
    out: Annotated[Path, typer.Option(help="parquet of id and rating")],
) -> None:
    """Rates informative pairs 1 and all others 0: the upper bound that no real rater can see."""
    planted = read_truth(truth)
    if len(planted) == 0:
        raise Refusal(
            f"{pool} has no planted truth, so nothing can be rated by it; "
            "take oracle out of the grid, or choose a planted pool."
        )
    store.check(pool, tables_alone=True)
    usable = rated_rows(store.read_index(pool, ["id", "split", "status", "lent"]))[["id", "lent"]]
    rated = usable.merge(planted, on="id", how="left", validate="one_to_one")
    if rated["kind"].isna().any():
        missing = rated.loc[rated["kind"].isna(), "id"].iloc[0]
        raise Refusal(f"{pool} has no planted kind for id {missing!r}; run the stage prepare again.")
    rated["rating"] = KINDS["oracle"].rate(rated["kind"])
    tables.write(out, rated[["id", "rating", "lent"]])
    typer.echo(f"wrote {out}: {int(rated['rating'].sum()):,} of {len(rated):,} pairs are informative")


if __name__ == "__main__":
    stage(run)
