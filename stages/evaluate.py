"""One cell's figures and its sample grid at every checkpoint."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from PIL import Image
from safetensors.torch import load_file

from alchemist.core import devices, files, progress
from alchemist.core.fingerprint import SCRATCH, fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import classes, model_settings
from alchemist.measures import clip_score, features, figures, references, scorers
from alchemist.measures import generator as measure
from alchemist.measures.figures import Images, References
from alchemist.models import course, family
from alchemist.models.encoded import CODEC, Encoded
from alchemist.models.losses import TRAIN, VALIDATION
from stages import stage

COLUMNS = 8  # of the sample grid


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    cell: Annotated[Path, typer.Option(help="folder that stage train wrote")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    floors: Annotated[Path, typer.Option(help="folder that stage floors wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the evaluation took to")],
    start: Annotated[
        Path | None, typer.Option(help="folder that stage pretrain wrote, for a model that adapts a network")
    ] = None,
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")] = SCRATCH,
) -> dict[str, Any]:
    """Measures one cell: images of the prompts, beside the reference images of the same splits.

    Killed, it goes on behind the last checkpoint that it measured.
    """
    settings = block(EvaluateSettings, f"scales.{scale}.evaluate")
    law = block(classes(family_name).LAW, f"scales.{scale}.sample.{family_name}")
    device = devices.chosen(device_setting(section("device")))
    for folder in (cell, floors):
        files.check_manifest(folder)
    ran = files.read_json(cell / course.RUN)
    # As they were when the cell was trained: an edit of the block since then trains it anew first.
    size = model_settings(ran["settings"], f"{cell / course.RUN}: settings", family_name)
    begun, pretrained = course.begun(size, start)
    if ran.get("pretrained") != pretrained:
        raise Refusal(f"{cell} adapted other weights than {start} holds; run dvc repro.")
    data = Encoded(encoded)
    settings = settings.fitted(references.drawn(data.rows), f"scales.{scale}.evaluate")
    asked = pd.read_parquet(floors / "prompts.parquet")
    captions = asked["caption"].tolist()
    beside = pd.read_parquet(floors / "references.parquet")
    rows = data.evaluation(asked["id"])
    views = references.views(asked, beside, settings.decides)
    decides = views[settings.decides]
    real, coded = features.read(floors, "real", settings.networks), np.load(floors / "coded.npy")
    compared = {name: References.of(real, coded, view.references) for name, view in views.items()}
    networks = features.extractors(settings, device)
    judge = scorers.load_scorer(
        settings.clip, floors / "scorer", device, captions=False, place=settings.weights.clip
    )
    noted = files.read_json(floors / "scorer/card.json").get("weights", {})
    features.compare({by.name: by.digest for by in networks} | {"clip": judge.digest}, noted, floors)
    clip_score.remember(judge, captions, np.load(floors / "captions.npy"))
    chosen = family.load(family_name)
    # The weights are those of the checkpoints: the seed of the start does not matter here.
    generator = chosen.generator(begun, chosen.codec(encoded / CODEC, device), 0).to(device).eval()
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        read=[files.sha256(folder / files.MANIFEST) for folder in (cell, floors, encoded)],
        settings=settings.model_dump(),
        law=law.model_dump(),
        device=str(device),
        torch=torch.__version__,
    )
    points = [point for point in ran["points"] if settings.curves or point["names"] != ["curve"]]
    print(f"evaluate {cell.name}: {len(points)} checkpoints, {len(rows):,} images each")
    pictures: list[Images] = []  # of the sample grid
    elapsed = devices.clock(device)
    with (
        Scratch(scratch, mark) as state,
        progress.bar(total=len(points) * len(rows), desc=out.stem) as bar,
    ):
        _, saved = state.load() or ({}, {"checkpoints": [], "seconds": 0.0})
        checkpoints, before = saved["checkpoints"], saved["seconds"]
        progress.begun(bar, len(checkpoints) * len(rows))
        for point in points[len(checkpoints) :]:
            generator.load_weights(load_file(cell / course.checkpoint(point["images"])))
            pictures.clear()
            drawn = measure.generate(generator, data, rows, law, settings, bar.update)
            of_images = figures.measured(
                kept(drawn, pictures, settings.grid), networks, settings.batch, judge, captions
            )
            # The same prompts and noise in every cell and at every checkpoint.
            drawing = f"sheet-{point['images']:09d}.png"
            with files.whole(state.folder / drawing) as draft:
                sheet(np.concatenate(pictures)[: settings.grid]).save(draft, "PNG")
            state.keep(state.folder / drawing)
            by_view: dict[str, dict[str, Any]] = {
                name: figures.figures(of_images.part(view.prompts), compared[name], settings)
                for name, view in views.items()
            }
            if generator.likelihood is not None:
                losses = measure.held_out_losses(generator, data, rows, settings.batch)
                for name, view in views.items():
                    by_view[name]["nll"] = float(losses[view.prompts].mean())
            found = dict(by_view[settings.decides])
            if "category" in asked:
                sides = (
                    asked["category"].to_numpy(str)[decides.prompts],
                    beside["category"].to_numpy(str)[decides.references],
                )
                found["categories"] = figures.by_category(
                    of_images.part(decides.prompts), compared[settings.decides].real, *sides, settings
                )
            if len(views) > 1:
                found["references"] = {name: view.sizes() | by_view[name] for name, view in views.items()}
            checkpoints.append(
                {
                    "images": point["images"],
                    "epochs": point["images"] / ran["subset_pairs"],
                    "points": point["names"],
                    "sheet": drawing,
                    **{name: point[name] for name in (TRAIN, VALIDATION) if name in point},
                    **found,
                }
            )
            if point is not points[-1]:
                state.save({}, {"checkpoints": checkpoints, "seconds": before + elapsed()})
        with files.whole_folder(out) as draft:
            for one in checkpoints:
                shutil.copy(state.folder / one["sheet"], draft / one["sheet"])
            files.write_json(
                draft / "figures.json",
                {
                    "cell": cell.name,
                    **{k: v for k, v in ran.items() if k not in ("points", "settings")},
                    "checkpoints": checkpoints,
                    **files.read_json(floors / "card.json"),
                    "likelihood": generator.likelihood,
                    **decides.sizes(),
                    "decides": settings.decides,
                    "names": settings.names,
                    "grid_prompts": captions[: settings.grid],
                },
            )
            files.write_manifest(draft)
        state.clear()
    seconds = before + elapsed()
    last = ", ".join(f"{k} {v:.3f}" for k, v in checkpoints[-1].items() if isinstance(v, float))
    print(f"wrote {out}: {progress.took(len(points) * len(rows), 'images', seconds)}; {last}")
    return {"evaluate_seconds": seconds, "peak_bytes": devices.peak_memory(device)}


def kept(batches: Iterable[Images], into: list[Images], most: int) -> Iterator[Images]:
    """The batches as they come; those that hold the first `most` images stay in `into`."""
    for images in batches:
        if sum(map(len, into)) < most:
            into.append(images)
        yield images


def sheet(pictures: np.ndarray) -> Image.Image:
    """Images (n, R, R, 3) side by side, eight a row."""
    blank = np.zeros((-len(pictures) % COLUMNS, *pictures.shape[1:]), dtype=np.uint8)
    rows = np.concatenate([pictures, blank]).reshape(-1, COLUMNS, *pictures.shape[1:])
    return Image.fromarray(np.concatenate(list(np.concatenate(list(rows.transpose(1, 0, 2, 3, 4)), 2)), 0))


if __name__ == "__main__":
    stage(run)
