"""Rates a pool by a rater that was trained elsewhere, without training: python -m stages.score.

The pool is one that the stages prepare and copies left. It is rated shard by shard: the same command in
several processes or on several machines shares the work, and goes on after a kill (docs/scale.md).
"""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from tqdm import tqdm

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.passes import on_ray
from alchemist.passes.shards import Shards, mine
from alchemist.pools import store
from alchemist.raters import shipped
from alchemist.raters.scoring import SCHEMA, worker
from stages import stage

TABLE, SHARDS = "all.parquet", "shards"


class Engine(StrEnum):
    """Who runs the tasks."""

    HERE = "here"  # this process, or its share where a launcher or --task gives it one
    RAY = "ray"  # the nodes of a Ray cluster


def run(
    rater: Annotated[Path, typer.Option(help="folder of a rater: weights, reference group, card.json")],
    out: Annotated[Path, typer.Option(help=f"folder to write {TABLE} and its shards into")],
    codec: Annotated[
        Path | None, typer.Option(help="folder of the image codec; data/codec/FAMILY where it is left out")
    ] = None,
    pool: Annotated[Path, typer.Option(help="folder of the prepared pool")] = Path("data/pool"),
    rows: Annotated[int, typer.Option(help="of the pool's index a shard", min=1)] = 4096,
    batch: Annotated[int, typer.Option(help="pairs at once", min=1)] = 250,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 …")] = "auto",
    task: Annotated[int | None, typer.Option(help="number of this process among --of, from 0 on")] = None,
    of: Annotated[int | None, typer.Option(help="processes that share the work", min=1)] = None,
    engine: Annotated[Engine, typer.Option(help="who runs the tasks")] = Engine.HERE,
    address: Annotated[str | None, typer.Option(help="of a running Ray cluster, for --engine ray")] = None,
    gpus: Annotated[float, typer.Option(help="of a GPU a task, for --engine ray", min=0)] = 0,
) -> None:
    """Rates every pair that is rated, lent ones too; the last shard made also leaves the table of all."""
    store.check(pool, tables_alone=True)
    store.check_pixels(pool)
    told = shipped.card(rater)
    with pq.ParquetFile(pool / store.INDEX) as index:
        pairs = int(index.metadata.num_rows)
    made_of = {
        "rater": files.sha256(rater / files.MANIFEST), "pool": files.sha256(pool / files.MANIFEST),
        "codec": told.codec, "rows": rows, "batch": batch,
    }  # fmt: skip
    shards = Shards((out / SHARDS).absolute(), made_of, -(-pairs // rows), SCHEMA)
    if not pairs:
        raise Refusal(f"{pool} has no pairs; one is the least.")
    # Ray shares the work out by itself, whatever launcher its driver stands behind.
    numbers = mine(shards.count, {} if engine is Engine.RAY else os.environ, task, of)
    if shards.is_joined(out / TABLE):
        print(f"{out / TABLE} is there already")
        return
    shards.begin()
    print(f"{told.name}, seed {told.seed}: {len(numbers)} of {shards.count} shards in {shards.folder}")
    todo = [number for number in numbers if not shards.is_made(number)]
    arguments = (
        rater.absolute(),
        (codec or Path("data/codec") / told.family).absolute(),
        pool.absolute(),
        rows,
        batch,
        device,
    )
    if todo and engine is Engine.RAY:
        with tqdm(total=len(todo), unit="shard", desc="score", mininterval=1) as bar:
            on_ray.run(shards, worker, arguments, todo, address, gpus, bar.update)
    elif todo:
        total = sum(min(rows, pairs - number * rows) for number in todo)
        with tqdm(total=total, unit="pair", desc="score", mininterval=1) as bar:
            work = worker(*arguments, bar.update)
            for number in todo:
                shards.make(number, work)  # one that another process is at is left to it
    if shards.joined(out / TABLE):
        print(f"wrote {out / TABLE}")
    else:
        missing = len(shards.missing())
        print(f"{missing} of {shards.count} shards are left to other processes, or to this command again")


if __name__ == "__main__":
    stage(run)
