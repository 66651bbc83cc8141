"""A family's image codec: as the repo or its settings have it, or fitted to the pool."""

import contextlib
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from alchemist.core import devices, files, progress, stateless
from alchemist.core.fingerprint import SCRATCH
from alchemist.core.scratch import EVERY, Scratch
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import classes
from alchemist.models import family
from alchemist.models.family import CodecSource
from alchemist.pools import store
from alchemist.pools.emoji import EmojiPool, compose_images
from alchemist.pools.read import pool_settings
from stages import stage

# A fit sees mostly clean compositions, as published codecs do; never those of the pool.
FIT_SHARES = {"informative": 0.8, "plain": 0.07, "chaotic": 0.06, "degraded": 0.07}
HELD_OUT = ("evaluation", "scorer", "meta_val")  # the first that has pairs: a fit is measured on them


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    pool_name: Annotated[str, typer.Option(help="name of the pool in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    assets: Annotated[Path, typer.Option(help="folder of the codecs that the repo holds")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a fit in progress")] = SCRATCH,
    every: Annotated[float, typer.Option(help="seconds between saved states", min=0)] = EVERY,
) -> None:
    """Makes the folder from which every later stage opens the family's codec."""
    settings = block(classes(family_name).CODEC, f"codecs.{family_name}")
    source = pool_settings(section(f"pools.{pool_name}"), f"pools.{pool_name}")
    device = devices.chosen(device_setting(section("device")))

    def fresh(stream: str, count: int, seed: int) -> NDArray[np.uint8]:
        store.check(pool)  # held_out, too, reads it
        if isinstance(source, EmojiPool):
            return compose_images(source, stream, FIT_SHARES, count, os.cpu_count() or 1)
        usable = store.usable(store.read_index(pool), "pool")
        chosen = np.argsort(stateless.id_uniforms(usable["id"], "fit", seed))[:count]
        return store.images(pool, usable.iloc[chosen])

    def held_out() -> NDArray[np.uint8]:
        index = store.read_index(pool)
        splits = [store.usable(index, split) for split in HELD_OUT]
        usable = next((rows for rows in splits if len(rows)), splits[0])
        return store.images(pool, usable.iloc[stateless.id_order(usable["id"])])

    states: list[Scratch] = []
    with (
        contextlib.ExitStack() as held,
        progress.bar(desc=f"codec of {family_name}") as bar,
    ):

        def state(mark: str) -> Scratch:
            states.append(held.enter_context(Scratch(scratch, mark, every)))
            return states[-1]

        def tick(seen: int, total: int, words: str) -> None:
            bar.total = total
            bar.set_postfix_str(words, refresh=False)
            if bar.n:
                bar.update(seen - bar.n)
            else:  # a fit that goes on
                progress.begun(bar, seen)

        with files.whole_folder(out) as draft:
            digest = files.sha256(pool / files.MANIFEST)
            made = CodecSource(
                f"pools.{pool_name}",
                source.resolution,
                digest,
                assets,
                fresh,
                held_out,
                state,
                device,
                tick,
                bar.write,
            )
            told = family.load(family_name).make_codec(settings, made, draft)
        for one in states:
            one.clear()
    print(f"wrote {out}: {told}")


if __name__ == "__main__":
    stage(run)
