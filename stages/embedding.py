"""Ratings of every pair of the pool by embeddings of pretrained networks: CLIP score, SemDeDup, aesthetic."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import devices, files
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.rater import EmbeddingRater
from alchemist.passes.run import ROWS, Engine, How, make
from alchemist.passes.shards import Shards
from alchemist.pools import store
from alchemist.pools.index import count_rated, size
from alchemist.raters import bill, embedding
from alchemist.raters.embedding import Embedding
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage
from stages.engines import Address, Gpus, Of, Task, Who


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
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
    """Rates the usable pairs of the pool, lent ones too, by the networks that measure the generators.

    Shard by shard: killed, it goes on when the same command runs again.
    """
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    if not isinstance(settings, EmbeddingRater):
        legal = ", ".join(name for name, place in LISTS.items() if place == EmbeddingRater.named_in)
        raise Refusal(
            f"raters.{rater}.kind is {settings.kind!r}; legal values in grid.embeddings are {legal}."
        )
    evaluate = block(EvaluateSettings, f"scales.{scale}.evaluate")
    asked = device_setting(section("device"))
    device = devices.chosen(asked)
    store.check(pool)
    total, how = size(pool), How(engine, task, of, address, gpus)
    one = Embedding(rater, scorer.absolute(), evaluate, asked, count_rated(pool))
    made_of = {
        "rater": settings.model_dump(), "name": rater, "evaluate": evaluate.model_dump(mode="json"),
        "scorer": files.sha256(scorer / files.MANIFEST), "pool": files.sha256(pool / files.MANIFEST),
        "rows": rows, "device": asked,
    }  # fmt: skip
    folder = (scratch / fingerprint(**made_of)[:16]).absolute()
    shards = Shards(
        folder, made_of, -(-total // rows), embedding.FEATURES if settings.of_all else bill.SCHEMA
    )
    if not how.is_alone() and bill.is_of(log_out, shards.digest):
        print(f"{log_out} is there already")
        raise SystemExit(0)
    arguments = (one, settings, pool.absolute(), rows)
    if not make(shards, embedding.worker, arguments, total, rows, how, rater, print):
        raise SystemExit(0)  # other processes make the rest, and the last of them the table
    with shards.last() as is_last:
        if not is_last:
            raise SystemExit(0)
        begun = time.perf_counter()
        with files.whole_folder(log_out) as drafts:
            if settings.of_all:
                features = drafts / "features.npy"
                rated = embedding.joined(map(shards.table, range(shards.count)), features)
                rating = settings.direction * KINDS[settings.kind].whole(features, rated, settings)
                features.unlink()
                bill.write_table(out, rated["id"], rating, rated["lent"].to_numpy())
            else:
                shards.join(out)
            flops = embedding.flops(one, settings, pool)
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, one.pairs, flops, shards.digest))
        seconds = shards.seconds() + time.perf_counter() - begun
    print(f"wrote {out} and {log_out}")
    return {"seconds": seconds, "score_seconds": seconds, "peak_bytes": devices.peak_memory(device)}


if __name__ == "__main__":
    stage(run)
