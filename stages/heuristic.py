"""Ratings of every pair of the pool by its pixels, or by what the index says of it: no training, no torch."""

import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files, progress
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.settings.given import section
from alchemist.core.settings.rater import HeuristicRater, IndexRater
from alchemist.passes.run import ROWS, Engine, How
from alchemist.passes.shards import Shards
from alchemist.pools import store
from alchemist.pools.index import COLUMNS, rated_rows, size
from alchemist.raters import bill, pixels
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage
from stages.engines import MARK, Address, Gpus, Of, Task, Who, is_made, whole


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
    mark, started = fingerprint(**made_of), time.perf_counter()
    shards = Shards((scratch / mark[:16]).absolute(), made_of, -(-total // rows), bill.SCHEMA)
    if isinstance(settings, IndexRater):  # of the pool as a whole
        if not how.numbers(1):
            raise SystemExit(0)
        usable = rated_rows(store.read_index(pool, [*COLUMNS, *settings.columns]))
        rating = KINDS[settings.kind].rate(usable, settings)
        with files.whole_folder(log_out) as drafts:
            bill.write_table(out, usable["id"], rating, usable["lent"].to_numpy())
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, len(usable), 0))
        seconds = time.perf_counter() - started
        print(f"wrote {out} and {log_out}: {progress.took(len(usable), 'pairs', seconds)}")
        return {"score_seconds": seconds}
    cores = how.share(os.cpu_count() or 1)
    arguments = (pool.absolute(), settings.kind, settings.direction, rows, cores)

    def is_there() -> bool:
        return is_made(time_out, mark, lambda: bill.check(out, log_out))

    with whole(shards, pixels.worker, arguments, total, rows, how, f"rate {rater}", is_there):
        with files.whole_folder(log_out) as drafts:
            shards.sort(out, "id")
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, shards.rows(), 0))
        rated, scoring = shards.rows(), shards.seconds()  # by whoever made them
    print(f"wrote {out} and {log_out}: {progress.took(rated, 'pairs', scoring)}")
    return {
        MARK: mark,
        "seconds": max(time.perf_counter() - started, scoring),
        "score_seconds": scoring,
    }


if __name__ == "__main__":
    stage(run)
