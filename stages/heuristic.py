"""Ratings of every pair of the pool by its pixels, or by what the index says of it: no training, no torch."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.settings.given import section
from alchemist.core.settings.rater import HeuristicRater, IndexRater
from alchemist.passes.run import ROWS, Engine, How, make
from alchemist.passes.shards import Shards
from alchemist.pools import store
from alchemist.pools.index import COLUMNS, rated_rows, size
from alchemist.raters import bill, pixels
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage
from stages.engines import Address, Gpus, Of, Task, Who


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write what was rated into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
    rows: Annotated[int, typer.Option(help="of the pool's index a shard", min=1)] = ROWS,
    scratch: Annotated[Path, typer.Option(help="folder for the shards of a pass in progress")] = SCRATCH,
    task: Task = None,
    of: Of = None,
    engine: Who = Engine.HERE,
    address: Address = None,
    gpus: Gpus = 0,
) -> dict[str, Any]:
    """Rates the usable pairs of the pool, lent ones too; all cores take part.

    By pixels, shard by shard: killed, it goes on when the same command runs again.
    """
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    if not isinstance(settings, HeuristicRater | IndexRater):
        legal = ", ".join(name for name, place in LISTS.items() if place == HeuristicRater.named_in)
        raise Refusal(
            f"raters.{rater}.kind is {settings.kind!r}; legal values in grid.heuristics are {legal}."
        )
    store.check(pool)
    total, how = size(pool), How(engine, task, of, address, gpus)
    made_of = {
        "rater": settings.model_dump(), "name": rater, "pool": files.sha256(pool / files.MANIFEST),
        "rows": rows,
    }  # fmt: skip
    folder = (scratch / fingerprint(**made_of)[:16]).absolute()
    shards = Shards(folder, made_of, -(-total // rows), bill.SCHEMA)
    if isinstance(settings, IndexRater):  # of the pool as a whole
        if not how.numbers(1):
            raise SystemExit(0)
        begun = time.perf_counter()
        usable = rated_rows(store.read_index(pool, [*COLUMNS, *settings.columns]))
        rating = KINDS[settings.kind].rate(usable, settings)
        with files.whole_folder(log_out) as drafts:
            bill.write_table(out, usable["id"], rating, usable["lent"].to_numpy())
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, len(usable), 0, shards.digest))
        print(f"wrote {out} and {log_out}")
        return {"score_seconds": time.perf_counter() - begun}
    if not how.is_alone() and bill.is_of(log_out, shards.digest):
        print(f"{log_out} is there already")
        raise SystemExit(0)
    cores = how.share(os.cpu_count() or 1)
    arguments = (pool.absolute(), settings.kind, settings.direction, rows, cores)
    if not make(shards, pixels.worker, arguments, total, rows, how, rater, print):
        raise SystemExit(0)  # other processes make the rest, and the last of them the table
    with shards.last() as is_last:
        if not is_last:
            raise SystemExit(0)
        with files.whole_folder(log_out) as drafts:
            shards.join(out)
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, shards.rows(), 0, shards.digest))
        seconds = shards.seconds()
    print(f"wrote {out} and {log_out}")
    return {"seconds": seconds, "score_seconds": seconds}


if __name__ == "__main__":
    stage(run)
