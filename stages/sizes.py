"""Tells which sizes the pool gives, and refuses what does not fit it, before the first slow stage."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.core.settings.evaluation import LIT
from alchemist.core.settings.given import section
from alchemist.measures import references, scorer_split
from alchemist.params import sizes
from alchemist.params.whole import Params, read
from alchemist.pools import store
from stages import stage


def run(
    pool: Annotated[Path, typer.Option(help="folder of the pool, whose card has the counts")],
    out: Annotated[Path, typer.Option(help="JSON to write")],
) -> None:
    """Reads the pool's card and all of params.yaml.

    What it writes is a function of the pool alone: an edit of a budget that fits reruns no other stage.
    """
    given = section("")
    params = read({name: given[name] for name in Params.model_fields})
    store.check(pool, tables_alone=True)
    card, counts = files.read_json(pool / store.CARD), sizes.counted(pool)
    typer.echo("\n".join(sizes.told(params, counts)))
    scale, where = params.scales[params.scale], f"scales.{params.scale}"
    # What depends on single pairs: their clusters, and their groups.
    if counts.evaluation:
        rows = store.rows(pool, references.SPLITS, ["id", *references.COLUMNS])
        prompts, beside = references.sides(rows, scale.evaluate, f"{where}.evaluate")
        view = references.views(prompts, beside, scale.evaluate.decides)[scale.evaluate.decides].sizes()
        typer.echo(
            f"{view['n']:,} prompts and {view['reference_n']:,} references decide "
            f"(evaluate.decides: {scale.evaluate.decides})"
        )
    if counts.scorer and scale.evaluate.clip == LIT:
        pairs = store.rows(pool, ("scorer",), ["id", *scorer_split.COLUMNS])
        scorer_split.divided(pairs, scale.scorer, f"{where}.scorer")
    files.write_json(out, {"pool": card["pool"], "counts": card["counts"], "sources": card["sources"]})


if __name__ == "__main__":
    stage(run)
