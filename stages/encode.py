"""Pixels to a family's named arrays, captions to text states. Every later stage of the family reads these."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import pyarrow as pa
import typer
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, files, progress
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.settings.budget import EncodeSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.text import TextSettings, of_family, text_settings
from alchemist.models import encoded, family, text
from alchemist.passes.run import Engine, How
from alchemist.passes.shards import Shards
from alchemist.pools import origin, store
from alchemist.pools.index import COLUMNS, part, size
from stages import stage
from stages.engines import MARK, Address, Gpus, Of, Task, Who, is_made, whole

SPLITS = ("pool", "meta_val", "evaluation", "pretraining", "clean")
READ = [*COLUMNS, "caption", "cluster", *store.PLACE[1:]]  # of the index
SCHEMA = pa.schema([("id", pa.string())])  # of a shard, beside which the arrays of its pairs lie


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    codec: Annotated[Path, typer.Option(help="folder of the family's image codec")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and FLOPs to")],
    scratch: Annotated[Path, typer.Option(help="folder for the shards of a pass in progress")] = SCRATCH,
    task: Task = None,
    of: Of = None,
    engine: Who = Engine.HERE,
    address: Address = None,
    gpus: Gpus = 0,
) -> dict[str, Any]:
    """Encodes the usable pairs that are rated, or that a network trains on or is measured by.

    Of the scorer's split, which reads pixels, those alone that are lent to it, since they are rated. Shard by
    shard: killed, it goes on when the same command runs again.
    """
    settings = block(EncodeSettings, f"scales.{scale}.encode")
    asked, where = device_setting(section("device")), f"scales.{scale}.encode.text"
    device = devices.chosen(asked)
    encoder = of_family(text_settings(settings.text, where), family_name)
    store.check(pool)
    total, how = size(pool), How(engine, task, of, address, gpus)
    made_of = {
        "family": family_name, "codec": files.sha256(codec / files.MANIFEST), "text": encoder.model_dump(),
        "pool": files.sha256(pool / files.MANIFEST), "batch": settings.batch, "rows": settings.rows,
    }  # fmt: skip
    mark, started = fingerprint(**made_of, device=asked), time.perf_counter()
    shards = Shards((scratch / mark[:16]).absolute(), made_of, -(-total // settings.rows), SCHEMA)
    arguments = (
        family_name, codec.absolute(), encoder, f"{where}.{family_name}", pool.absolute(), settings, asked
    )  # fmt: skip
    from stages.encode import worker as build  # not of __main__, in which a worker of Ray finds nothing

    def is_there() -> bool:
        return is_made(time_out, mark, lambda: files.check_manifest(out, once=True))

    with whole(shards, build, arguments, total, settings.rows, how, f"encode {family_name}", is_there):
        parts = [one for one in map(shards.beside, range(shards.count)) if one.is_dir()]
        if not parts:
            raise Refusal(f"{pool} has no usable pair to encode; one is the least.")
        flops = sum(files.read_sealed(one / files.MANIFEST)["flops"] for one in parts)
        with files.whole_folder(out) as draft:
            shutil.copytree(codec, draft / encoded.CODEC)
            name = files.read_json(pool / store.CARD)["pool"]
            encoded.join(parts, draft, pool=name)
        pairs, seconds = shards.rows(), shards.seconds()
    print(f"wrote {out}: {progress.took(pairs, 'pairs', seconds)}")
    return {
        MARK: mark,
        "flops": float(flops),
        "seconds": max(time.perf_counter() - started, seconds),
        "peak_bytes": devices.peak_memory(device),
    }


def worker(
    family_name: str, codec: Path, encoder: TextSettings, where: str, pool: Path, settings: EncodeSettings,
    device: str, tick: Callable[[int], object] = lambda pairs: None,
) -> Callable[[int, Path], pd.DataFrame]:  # fmt: skip
    """What makes shard `number` of a pool: its ids, and beside them their arrays and states of captions."""
    here = devices.chosen(device)
    origins = origin.origins(pool)
    images, words = family.load(family_name).codec(codec, here), text.load(encoder, where, here)
    facts: dict[str, Any] = {
        "codec": images.digest, "text_encoder": words.name, "text": encoder.model_dump(),
        "text_sha256": words.digest,
    }  # fmt: skip

    def work(number: int, drafts: Path) -> pd.DataFrame:
        index = part(pool, number * settings.rows, settings.rows, READ)
        asked = index["split"].isin(SPLITS) | index["lent"]
        rows = index[(index["status"] == "ok") & asked]
        tick(len(index) - len(rows))
        if not len(rows):
            return pd.DataFrame({"id": rows["id"].array})
        captions = ["", *sorted({*rows["caption"]} - {""})]  # the first is what dropped captions become
        numbers = {caption: i for i, caption in enumerate(captions)}
        tables = [rows.iloc[at : at + settings.batch] for at in range(0, len(rows), settings.batch)]
        with encoded.Writer(drafts, **facts) as writer:
            told = rows.assign(text=rows["caption"].map(numbers).astype("int64"))
            came = origins(rows)
            writer.rows(told if came is None else told.assign(**{encoded.ORIGIN: came}))
            with FlopCounterMode(display=False) as counter:
                for pixels in store.ahead(pool, tables):
                    writer.append(images.encode(pixels))
                    tick(len(pixels))
                said = f"captions of shard {number}"
                with progress.bar(total=len(captions), desc=said, unit="caption", leave=False) as bar:
                    writer.captions(words.states(captions, settings.batch, bar.update))
            writer.facts["flops"] = counter.get_total_flops()
        return pd.DataFrame({"id": rows["id"].array})

    return work


if __name__ == "__main__":
    stage(run)
