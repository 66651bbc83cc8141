"""One cell: a generator trained on one subset, with averaged weights at the checkpoints and their losses."""

import platform
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from alchemist.core import devices, files, fsdp, progress, tables, world
from alchemist.core.fingerprint import SCRATCH, fingerprint, of_ids
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import EVERY, Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import model_settings
from alchemist.core.state import digest
from alchemist.models import course, family, training
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.losses import Watched
from stages import stage


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    model: Annotated[str, typer.Option(help="name of the model in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the run took to")],
    subset: Annotated[
        Path | None, typer.Option(help="ids that stage prune chose; none: the full pool")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="folder that stage pretrain wrote, for a model that adapts a network")
    ] = None,
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")] = SCRATCH,
    every: Annotated[float, typer.Option(help="seconds between saved states", min=0)] = EVERY,
) -> dict[str, Any] | None:
    """Trains one cell. Killed, it goes on when the same command runs again."""
    size = model_settings(section(f"models.{model}"), f"models.{model}", family_name)
    settings = block(TrainSettings, f"budgets.{model}")  # by stage check, of the scale in force
    device = world.join(devices.chosen(device_setting(section("device"))))
    data = Encoded(encoded)
    if not (data.rows["split"] == "evaluation").any():
        raise Refusal(
            f"{encoded} has no evaluation pair, because splits.evaluation of the pool is 0, so no cell can "
            "be measured; `dvc repro prune` ends with the ids, or set it to a share or {pool: NAME}."
        )
    pool = data.pool()
    rows = pool if subset is None else data.subset(tables.read(subset, ["id"])["id"])
    chosen = family.load(family_name)
    begun, pretrained = course.begun(size, start)
    generator = chosen.generator(begun, chosen.codec(encoded / CODEC, device), seed).to(device)
    points = training.points(settings, len(rows) / len(pool))
    stops = [point.images for point in points]
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        size=size.model_dump(),
        settings=settings.model_dump(),
        seed=seed,
        rows=files.sha256(subset) if subset else "full",
        data=files.sha256(encoded / files.MANIFEST),
        start=pretrained,
        device=device.type,  # each of several processes has another GPU, and one state is of all
        torch=torch.__version__,
    )
    watched = Watched.of(data, rows, data.validation(), settings.chunk or settings.batch)
    one = course.Course(generator, data, rows, settings, seed, stops, watched=watched)
    facts = {
        "model": model,
        "family": size.family,
        "settings": size.model_dump(mode="json"),
        "seed": seed,
        "subset_pairs": len(rows),
        "pool_pairs": len(pool),
        "ids_sha256": of_ids(data.rows["id"].iloc[rows.numbers]),
        "initial_sha256": digest(generator.state_dict()),  # of every process: weights are whole until a step
        "parameters": sum(p.numel() for p in generator.parameters()),
        "batch": settings.batch,
        "points": [{"images": p.images, "names": list(p.names)} for p in points],
        "train_flops": one.flops(),
        **({"pretrained": pretrained} if pretrained else {}),
    }
    with (
        Scratch(scratch, mark, every) as state,
        progress.bar(total=stops[-1], desc=out.name, shown=world.is_writer()) as bar,
    ):
        if world.is_writer():
            shared = f" on {world.count()} processes" if world.count() > 1 else ""
            shared += ", weights in parts" if fsdp.asked() else ""
            print(
                f"train {out.name}: {len(rows):,} of {len(pool):,} pairs, {stops[-1]:,} images{shared}; "
                f"state in {state.folder}"
            )
        log = one.train(state, out, facts, progress.hears(bar))
    if not world.is_writer():
        return None
    took = progress.took(stops[-1], "images", log[-1]["seconds"])
    print(f"wrote {out}: {took}, loss {log[-1]['loss']:.3f}")
    return {
        "train_seconds": log[-1]["seconds"],  # of all tries
        "versions": versions(),
        "hardware": devices.hardware(device),
        "processes": world.count(),
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
