"""One cell: a generator trained on one subset, with averaged weights at the stated checkpoints."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from safetensors.torch import save_file
from tqdm import tqdm

from alchemist.core import files
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models import training
from alchemist.models.encoded import Encoded
from alchemist.models.star import tokenizer
from alchemist.models.star.generator import StarGenerator
from alchemist.settings.budget import TrainSettings
from alchemist.settings.model import StarSettings
from stages.common import block, stage


def run(
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    model: Annotated[str, typer.Option(help="name of the model in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")],
    subset: Annotated[
        Path | None, typer.Option(help="ids that stage prune chose; none: the full pool")
    ] = None,
) -> None:
    """Trains one cell. Killed, it goes on when the same command runs again."""
    torch.set_flush_denormal(True)
    size = block(StarSettings, f"models.{model}")
    settings = block(TrainSettings, f"scales.{scale}.train")
    data = Encoded(encoded)
    pool = data.split("pool")
    rows = pool if subset is None else data.find(pd.read_parquet(subset)["id"])
    generator = StarGenerator(size, tokenizer.load(tokenizer_folder), seed)
    points = training.points(settings, len(rows) / len(pool))
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        size=size.model_dump(),
        settings=settings.model_dump(),
        seed=seed,
        rows=files.sha256(subset) if subset else "full",
        data=files.sha256(encoded / files.MANIFEST),
        torch=torch.__version__,
    )
    # On pairs of the pool, which are the same in every arm.
    flops = training.forward_flops(generator.losses, data.batch(pool[: settings.batch]))
    with (
        Scratch(scratch, mark) as held,
        tqdm(total=points[-1].images, unit="img", desc=out.name, mininterval=1) as bar,
    ):

        def keep(seen: int, averaged: StarGenerator) -> None:
            with files.whole(held.folder / f"ema-{seen:09d}.safetensors") as draft:
                save_file(averaged.state_dict(), draft)

        def tick(images: int, words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(images)

        print(f"{out.name}: {len(rows)} of {len(pool)} pairs, {points[-1].images} images, in {held.folder}")
        stops = [point.images for point in points]
        log = training.train(generator, data, rows, settings, seed, stops, held, keep, tick)
        with files.whole_folder(out) as draft:
            for images in stops:
                name = f"ema-{images:09d}.safetensors"
                (draft / name).write_bytes((held.folder / name).read_bytes())
            pd.DataFrame(log).to_json(draft / "log.jsonl", orient="records", lines=True)
            files.write_json(
                draft / "run.json",
                {
                    "model": model,
                    "seed": seed,
                    "subset_pairs": len(rows),
                    "pool_pairs": len(pool),
                    "parameters": sum(p.numel() for p in generator.parameters()),
                    "batch": settings.batch,
                    "points": [{"images": p.images, "names": list(p.names)} for p in points],
                    "train_seconds": log[-1]["seconds"],
                    # A backward pass costs twice a forward pass.
                    "train_flops": 3.0 * flops * points[-1].images,
                    "versions": versions(),
                    "threads": torch.get_num_threads(),
                    "hardware": hardware(),
                },
            )
            files.write_manifest(draft)
        held.clear()
    print(f"wrote {out}")


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


def hardware() -> str:
    """The processor's name, its cores, and the widest vector instructions that torch uses."""
    told = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in told.splitlines() if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}"


if __name__ == "__main__":
    stage(run)
