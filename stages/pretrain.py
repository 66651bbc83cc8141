"""What the cells of a model start from: a network trained whole, once, on the neutral split, or nothing."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from alchemist.core import devices, files, progress, world
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import EVERY, Scratch
from alchemist.core.settings.budget import TrainSettings
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import model_settings
from alchemist.models import course, family
from alchemist.models.encoded import CODEC, Encoded
from stages import stage

SEED = 0  # one network for the cells of all seeds, as a published one would be


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    model: Annotated[str, typer.Option(help="name of the model in params.yaml")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the run took to")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")] = SCRATCH,
    every: Annotated[float, typer.Option(help="seconds between saved states", min=0)] = EVERY,
) -> dict[str, Any] | None:
    """Trains the network that a model adapts. Killed, it goes on when the same command runs again.

    For a model that adapts none the folder says so: DVC cannot tell the two apart, and runs both.
    """
    size = model_settings(section(f"models.{model}"), f"models.{model}", family_name)
    device = world.join(devices.chosen(device_setting(section("device"))))
    if not size.adapts:
        if not world.is_writer():
            return None
        course.leave_nothing(out)
        print(f"wrote {out}: {model} adapts no network")
        return {}
    size = size.whole()
    settings = block(TrainSettings, f"scales.{scale}.pretrain")
    data = Encoded(encoded)
    rows = data.pretraining()
    if len(rows) < settings.batch:
        raise Refusal(
            f"scales.{scale}.pretrain.batch is {settings.batch}; the split pretraining has {len(rows)} "
            "usable pairs, and that many at most are legal."
        )
    chosen = family.load(family_name)
    generator = chosen.generator(size, chosen.codec(encoded / CODEC, device), SEED).to(device)
    images = -(-settings.images // settings.batch) * settings.batch  # whole batches
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        model=model,
        size=size.model_dump(),
        settings=settings.model_dump(),
        data=files.sha256(encoded / files.MANIFEST),
        device=device.type,  # each of several processes has another GPU, and one state is of all
        torch=torch.__version__,
    )
    one = course.Course(
        generator, data, rows, settings, SEED, [images], f"scales.{scale}.pretrain.learning_rate"
    )
    flops = one.flops()  # before the weights may be shared out
    with (
        Scratch(scratch, mark, every) as state,
        progress.bar(total=images, desc=out.name, shown=world.is_writer()) as bar,
    ):
        if world.is_writer():
            print(
                f"pretrain {out.name}: {len(rows):,} pairs of the split pretraining, {images:,} images; "
                f"state in {state.folder}"
            )
        log = one.train(state, out, {"pairs": len(rows), "images": images}, progress.hears(bar))
    if not world.is_writer():
        return None
    took = progress.took(images, "images", log[-1]["seconds"])
    print(f"wrote {out}: {took}, loss {log[-1]['loss']:.3f}")
    return {
        "train_seconds": log[-1]["seconds"],  # of all tries
        "flops": flops,
        "hardware": devices.hardware(device),
        "processes": world.count(),
        "peak_bytes": devices.peak_memory(device),
    }


if __name__ == "__main__":
    stage(run)
