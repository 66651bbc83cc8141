"""The evaluation images through a family's codec, and what a perfect generator would score."""

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from alchemist.core import devices, files
from alchemist.measures import clip_score, features, generator, scorers
from alchemist.measures.generator import Side
from alchemist.models import family
from alchemist.models.encoded import divided
from alchemist.pools import store
from alchemist.settings.device import device_setting
from alchemist.settings.evaluation import EvaluateSettings
from alchemist.settings.given import block, section
from stages import stage


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    codec: Annotated[Path, typer.Option(help="folder of the family's image codec")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
) -> None:
    """Takes the features of the coded evaluation images, and the floors of every figure."""
    settings = block(EvaluateSettings, f"scales.{scale}.evaluate")
    device = devices.chosen(device_setting(section("device")))
    for folder in (pool, scorer):
        files.check_manifest(folder)
    measured = store.usable(store.read_index(pool), "evaluation")
    images = store.images(pool, measured)
    coded = family.load(family_name).codec(codec, device).reconstruct(images)
    by = features.extractor(settings.features, settings.feature_size, device)
    real, after = np.load(scorer / "features.npy"), features.extract(coded, by, settings.batch)
    prompts, references = divided(len(measured), settings.images)
    judge = scorers.load_scorer(settings.clip, scorer, device)
    captions = list(measured["caption"])[prompts]
    words = clip_score.embed_captions(judge, captions, settings.batch)
    found = generator.floors(
        Side(real[prompts], after[prompts]),
        Side(real[references], after[references]),
        images[prompts],
        coded[prompts],
        captions,
        judge,
        settings,
    )
    with files.whole_folder(out) as draft:
        # What a cell is measured by lies in one folder.
        shutil.copytree(scorer, draft / "scorer", ignore=shutil.ignore_patterns("features.npy"))
        np.save(draft / "real.npy", real[references])
        np.save(draft / "coded.npy", after[references])
        np.save(draft / "captions.npy", devices.host(words))
        for name, side in (("prompts", prompts), ("references", references)):
            rows = measured.iloc[side][["id", "caption"]]
            rows.to_parquet(draft / f"{name}.parquet", index=False)
        files.write_json(draft / "card.json", {"floors": found})
        files.write_manifest(draft)
    floor = found[settings.fd_name]
    print(f"wrote {out}: {len(rows)} references, {settings.fd_name} of real images {floor:.1f}")


if __name__ == "__main__":
    stage(run)
