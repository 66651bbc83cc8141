"""Rates a pool by a rater that was trained elsewhere, without training: python -m stages.score.

The pool is one that the stages prepare and copies left. It is rated shard by shard: the same command in
several processes or on several machines shares the work, and goes on after a kill (docs/scale.md).
"""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.passes.run import Engine, How, make
from alchemist.passes.shards import Shards
from alchemist.pools import store
from alchemist.pools.index import size
from alchemist.raters import bill, shipped
from alchemist.raters.scoring import worker
from stages import stage
from stages.engines import Address, Gpus, Of, Task, Who

TABLE, SHARDS = "all.parquet", "shards"


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
    task: Task = None,
    of: Of = None,
    engine: Who = Engine.HERE,
    address: Address = None,
    gpus: Gpus = 0,
) -> None:
    """Rates every pair that is rated, lent ones too; the last shard made also leaves the table of all."""
    store.check(pool, tables_alone=True)
    store.check_pixels(pool)
    told = shipped.card(rater)
    pairs, how = size(pool), How(engine, task, of, address, gpus)
    made_of = {
        "rater": files.sha256(rater / files.MANIFEST), "pool": files.sha256(pool / files.MANIFEST),
        "codec": told.codec, "rows": rows, "batch": batch,
    }  # fmt: skip
    shards = Shards((out / SHARDS).absolute(), made_of, -(-pairs // rows), bill.SCHEMA)
    if shards.is_joined(out / TABLE):
        print(f"{out / TABLE} is there already")
        return
    folder = codec or Path("data/codec") / told.family
    arguments = (rater.absolute(), folder.absolute(), pool.absolute(), rows, batch, device)
    name = f"{told.name}, seed {told.seed}"
    if make(shards, worker, arguments, pairs, rows, how, name, print) and shards.joined(out / TABLE):
        print(f"wrote {out / TABLE}")


if __name__ == "__main__":
    stage(run)
