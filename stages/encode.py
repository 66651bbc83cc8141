"""Pixels to a family's named arrays, captions to text states. Every later stage of the family reads these."""

import shutil
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from alchemist.core import devices, files
from alchemist.core.settings.budget import EncodeSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.text import of_family, text_settings
from alchemist.models import encoded, family, text
from alchemist.pools import store
from stages import stage

SPLITS = ("pool", "meta_val", "evaluation", "pretraining", "clean")
PART = 8192  # rows of the index that are in memory at once


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    codec: Annotated[Path, typer.Option(help="folder of the family's image codec")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
) -> dict[str, float]:
    """Encodes the usable pairs that are rated, or that a network trains on or is measured by.

    Of the scorer's split, which reads pixels, those alone that are lent to it, since they are rated.
    """
    settings = block(EncodeSettings, f"scales.{scale}.encode")
    device = devices.chosen(device_setting(section("device")))
    store.check(pool)
    chosen = family.load(family_name)
    images = chosen.codec(codec, device)
    where = f"scales.{scale}.encode.text"
    encoder = of_family(text_settings(settings.text, where), family_name)
    words = text.load(encoder, f"{where}.{family_name}", device)
    rows, captions = numbered(pool)
    with (
        FlopCounterMode(display=False) as counter,
        files.whole_folder(out) as draft,
        encoded.Writer(
            draft,
            codec=images.digest,
            text_encoder=words.name,
            text=encoder.model_dump(),
            text_sha256=words.digest,
            pool=files.read_json(pool / store.CARD)["pool"],
        ) as writer,
    ):
        shutil.copytree(codec, draft / encoded.CODEC)
        writer.rows(rows)
        count = len(rows)
        del rows  # a pool's ids are not wanted in memory while its images pass
        with tqdm(total=count, unit="img", desc="images") as bar:
            for pixels in store.batches(pool, SPLITS, settings.batch, lent=True):
                writer.append(images.encode(pixels))
                bar.update(len(pixels))
        with tqdm(total=len(captions), unit="caption", desc="captions") as bar:
            writer.captions(words.states(captions, settings.batch, bar.update))
    print(f"wrote {out}: {count} pairs, {len(captions)} distinct captions")
    return {"flops": float(counter.get_total_flops())}


def numbered(pool: Path) -> tuple[pd.DataFrame, list[str]]:
    """The rows to encode: id, split, caption's number, lent, cluster; and the distinct captions, "" first.

    The index is streamed, since captions are most of it.
    """
    found: set[str] = set()
    for part in store.parts(pool, SPLITS, PART, ["caption"], lent=True):
        found.update(part["caption"])
    captions = ["", *sorted(found - {""})]
    number = {caption: i for i, caption in enumerate(captions)}
    rows = [
        part[["id", "split", "lent", "cluster"]].assign(text=part["caption"].map(number).astype("int64"))
        for part in store.parts(pool, SPLITS, PART, ["id", "caption", "lent", "cluster"], lent=True)
    ]
    return pd.concat(rows, ignore_index=True), captions


if __name__ == "__main__":
    stage(run)
