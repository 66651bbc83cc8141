"""Tells which sizes the pool gives, and refuses what does not fit it, before the first slow stage."""

from pathlib import Path
from typing import Annotated

import typer

from alchemist.core import files
from alchemist.core.settings.given import section
from alchemist.params import sizes
from alchemist.params.whole import Params, read
from alchemist.pools.store import CARD
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
    card = files.read_json(pool / CARD)
    typer.echo("\n".join(sizes.told(params, sizes.counted(pool))))
    files.write_json(out, {"pool": card["pool"], "counts": card["counts"], "sources": card["sources"]})


if __name__ == "__main__":
    stage(run)
