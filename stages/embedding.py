"""Ratings of every pair of the pool by embeddings of pretrained networks: CLIP score, SemDeDup, aesthetic."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import devices, files, progress
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.rater import EmbeddingRater
from alchemist.passes.run import ROWS, Engine, How
from alchemist.passes.shards import Shards
from alchemist.pools import store
from alchemist.pools.index import count_rated, size
from alchemist.raters import bill, embedding
from alchemist.raters.embedding import Embedding
from alchemist.raters.table import KINDS, LISTS, rater_settings
from stages import stage
from stages.engines import MARK, Address, Gpus, Of, Task, Who, is_made, whole


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
    if not (pairs := count_rated(pool)):
        raise Refusal(f"{pool} has no pair that is rated; one is the least.")
    one = Embedding(rater, scorer.absolute(), evaluate, asked, pairs)
    made_of = {
        "rater": settings.model_dump(), "name": rater, "evaluate": evaluate.model_dump(mode="json"),
        "scorer": files.sha256(scorer / files.MANIFEST), "pool": files.sha256(pool / files.MANIFEST),
        "rows": rows, "device": asked,
    }  # fmt: skip
    mark, started = fingerprint(**made_of), time.perf_counter()
    schema = embedding.FEATURES if settings.of_all else bill.SCHEMA
    shards = Shards((scratch / mark[:16]).absolute(), made_of, -(-total // rows), schema)
    arguments = (one, settings, pool.absolute(), rows)

    def is_there() -> bool:
        return is_made(time_out, mark, lambda: bill.check(out, log_out))

    with whole(shards, embedding.worker, arguments, total, rows, how, f"rate {rater}", is_there):
        begun = time.perf_counter()
        with files.whole_folder(log_out) as drafts:
            if settings.of_all:
                features = drafts / "features.npy"
                rated = embedding.joined(map(shards.table, range(shards.count)), features)
                rating = settings.direction * KINDS[settings.kind].whole(features, rated, settings)
                features.unlink()
                bill.write_table(out, rated["id"], rating, rated["lent"].to_numpy())
            else:
                shards.sort(out, "id")
            flops = embedding.flops(one, settings, pool)
            bill.write_facts(drafts, bill.fixed_bill(rater, settings.kind, one.pairs, flops))
        scoring = shards.seconds() + time.perf_counter() - begun  # by whoever made the shards
    print(f"wrote {out} and {log_out}: {progress.took(one.pairs, 'pairs', scoring)}")
    return {
        MARK: mark,
        "seconds": max(time.perf_counter() - started, scoring),
        "score_seconds": scoring,
        "peak_bytes": devices.peak_memory(device),
    }


if __name__ == "__main__":
    stage(run)
