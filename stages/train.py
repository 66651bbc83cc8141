"""One cell: a generator trained on one subset, with averaged weights at the stated checkpoints."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import torch
import typer
from safetensors.torch import save_file
from tqdm import tqdm

from alchemist.core import devices, files, threads
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import model_settings
from alchemist.models import family, training
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.family import Generator
from stages import stage


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    model: Annotated[str, typer.Option(help="name of the model in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the run took to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")],
    subset: Annotated[
        Path | None, typer.Option(help="ids that stage prune chose; none: the full pool")
    ] = None,
) -> dict[str, Any]:
    """Trains one cell. Killed, it goes on when the same command runs again."""
    size = model_settings(section(f"models.{model}"), f"models.{model}", family_name)
    settings = block(TrainSettings, f"scales.{scale}.train")
    device = devices.chosen(device_setting(section("device")))
    data = Encoded(encoded)
    pool = data.pool()
    rows = pool if subset is None else data.subset(pd.read_parquet(subset)["id"])
    chosen = family.load(family_name)
    generator = chosen.generator(size, chosen.codec(encoded / CODEC, device), seed).to(device)
    points = training.points(settings, len(rows) / len(pool))
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        size=size.model_dump(),
        settings=settings.model_dump(),
        seed=seed,
        rows=files.sha256(subset) if subset else "full",
        data=files.sha256(encoded / files.MANIFEST),
        device=str(device),
        torch=torch.__version__,
    )
    # On pairs of the pool, which are the same in every arm.
    some = data.batch(pool.numbers[: settings.chunk or settings.batch]).to(device)
    flops = training.forward_flops(generator.losses, some, training=True)
    with (
        Scratch(scratch, mark) as state,
        tqdm(total=points[-1].images, unit="img", desc=out.name, mininterval=1) as bar,
    ):

        def at_stop(seen: int, averaged: Generator) -> None:
            with files.whole(state.folder / f"ema-{seen:09d}.safetensors") as draft:
                save_file(averaged.weights(), draft)

        steer = threads.steered(device)

        def tick(images: int, words: str) -> None:
            steer(images)
            bar.set_postfix_str(words, refresh=False)
            bar.update(images)

        print(f"{out.name}: {len(rows)} of {len(pool)} pairs, {points[-1].images} images, in {state.folder}")
        stops = [point.images for point in points]
        log = training.train(generator, data, rows, settings, seed, stops, state, at_stop, tick)
        with files.whole_folder(out) as draft:
            for images in stops:
                name = f"ema-{images:09d}.safetensors"
                (draft / name).write_bytes((state.folder / name).read_bytes())
            rows_of_log = pd.DataFrame(log).drop(columns="seconds")
            rows_of_log.to_json(draft / "log.jsonl", orient="records", lines=True)
            files.write_json(
                draft / "run.json",
                {
                    "model": model,
                    "family": size.family,
                    "seed": seed,
                    "subset_pairs": len(rows),
                    "pool_pairs": len(pool),
                    "parameters": sum(p.numel() for p in generator.parameters()),
                    "batch": settings.batch,
                    "points": [{"images": p.images, "names": list(p.names)} for p in points],
                    # A backward pass costs twice a forward pass.
                    "train_flops": 3.0 * flops * points[-1].images,
                },
            )
            files.write_manifest(draft)
        state.clear()
    print(f"wrote {out}")
    return {
        "train_seconds": log[-1]["seconds"],  # of all tries
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "hardware": devices.hardware(device),
        "peak_bytes": devices.peak_memory(device),
    }


def versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    names = (
        "torch",
        "numpy",
        "scipy",
        "pandas",
        "dvc",
        "timm",
        "transformers",
        "clean-fid",
        "open_clip_torch",
    )
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


if __name__ == "__main__":
    stage(run)
