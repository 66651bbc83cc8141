"""Ratings of every pair of the pool by its pixels, or by what the index says of it: no training, no torch."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings.given import section
from alchemist.core.settings.rater import HeuristicRater, IndexRater
from alchemist.pools import store
from alchemist.raters import bill, pixels
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write what was rated into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
) -> dict[str, Any]:
    """Rates the usable pairs of the pool, lent ones too; all cores take part."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    if not isinstance(settings, HeuristicRater | IndexRater):
        legal = ", ".join(name for name, place in LISTS.items() if place == HeuristicRater.named_in)
        raise Refusal(
            f"raters.{rater}.kind is {settings.kind!r}; legal values in grid.heuristics are {legal}."
        )
    further = settings.columns if isinstance(settings, IndexRater) else ()
    store.check(pool)
    index = store.read_index(pool, ["split", "status", "lent", *further, *store.PLACE])
    usable = store.rated(index)
    begun = time.perf_counter()
    with tqdm(total=len(usable), unit="img", desc=rater, mininterval=1) as bar:
        if isinstance(settings, IndexRater):
            rating = KINDS[settings.kind].rate(usable, settings)
            bar.update(len(usable))
        else:
            measure = pixels.score_pool(pool, usable, settings.kind, os.cpu_count() or 1, bar.update)
            rating = settings.direction * measure
    taken = time.perf_counter() - begun
    with files.whole_folder(log_out) as drafts:
        bill.write_table(out, usable["id"].to_numpy(), rating, usable["lent"].to_numpy())
        bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, len(usable), 0))
    print(f"wrote {out} and {log_out}")
    return {"score_seconds": taken}


if __name__ == "__main__":
    stage(run)
