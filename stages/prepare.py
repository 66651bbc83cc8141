"""Reads or composes the pool: pairs, splits, and a reason for every pair that cannot be used."""

import os
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import process, progress
from alchemist.core.files import whole_folder
from alchemist.core.settings.given import section
from alchemist.pools.emoji import EmojiPool
from alchemist.pools.read import expected, licence, pool_settings, roots, rows
from alchemist.pools.store import write_pool
from stages import stage

LATER = {"copies"}  # of a pool's settings: the stage of that name reads it


def run(
    pool: Annotated[str, typer.Option(help="a block of pools: in params.yaml", metavar="NAME")],
    out: Annotated[Path, typer.Option(help="folder that the pool is written to", metavar="FOLDER")],
    truth_out: Annotated[Path, typer.Option(help="folder of the planted kinds", metavar="FOLDER")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds to")],
) -> dict[str, Any]:
    """Writes the pool's index and card as one folder, and what was planted or labelled as another.

    When it began to read stands beside what it took: files that are written later, stage check names.
    """
    began = time.time()
    blocks = section(f"sources.{pool}")
    others = {name: pool_settings(value, f"pools.{name}") for name, value in blocks.items()}
    settings = others.pop(pool)
    facts = {
        "pool": pool,
        "licence": licence(settings),
        "settings": settings.model_dump(exclude=LATER),
        "others": {
            k: {"licence": licence(v), "settings": v.model_dump(exclude=LATER)} for k, v in others.items()
        },
    }
    expects = expected(settings, others, pool)
    typer.echo(
        f"prepare: pool {pool} of format {settings.format}{'' if expects is None else f', {expects:,} pairs'}"
    )
    found = rows(settings, os.cpu_count() or 1, pool, others)
    passing = progress.bar(found, desc="prepare", unit="pair", total=expects)
    files = roots(settings, pool, others)
    with process.sparing_memory(), whole_folder(out) as draft, whole_folder(truth_out) as truth, passing:
        # A person's images stay where they lie, or are kept encoded.
        shard_pairs = settings.shard_pairs if isinstance(settings, EmojiPool) else 0
        card = write_pool(draft, passing, settings.resolution, shard_pairs, facts, truth, files)
    total: Counter[str] = Counter()
    for split, counts in card["counts"].items():
        total.update(counts)
        typer.echo(f"{split:<12}{counts.get('ok', 0):>10,} ok")
    for reason, count in sorted(total.items()):
        if reason != "ok":
            typer.echo(f"{'rejected':<12}{count:>10,} {reason}")
    typer.echo(f"wrote {card['pairs']:,} pairs, {card['ok']:,} of them ok, to {out}")
    return {"began": began}


if __name__ == "__main__":
    stage(run)
