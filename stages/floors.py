"""The evaluation images through a family's codec, and what a perfect generator would score."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import typer
from tqdm import tqdm

from alchemist.analysis.codec_verdict import verdict
from alchemist.core import devices, files
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import classes
from alchemist.measures import clip_score, features, figures, scorers
from alchemist.measures.figures import Images, Measured, Side
from alchemist.measures.reconstruction import Reconstruction
from alchemist.models import family
from alchemist.models.encoded import divided
from alchemist.pools import store
from stages import stage

COLUMNS = ["id", "caption", "category"]  # of prompts and references; the last where the pool has it


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
    measured = with_category(pool, store.rows(pool, "evaluation", ["caption", *store.PLACE]))
    by = features.extractor(settings.features, settings.feature_size, device, settings.weights)
    judge = scorers.load_scorer(settings.clip, scorer, device, place=settings.weights.clip)
    noted = files.read_json(scorer / "card.json").get("weights", {})
    features.compare({by.name: by.digest, "clip": judge.digest}, noted, scorer)
    through = Reconstruction(family.load(family_name).codec(codec, device).reconstruct)
    prompts, references = divided(len(measured), settings.images, settings.references == "all")
    rows, beside = measured.iloc[prompts], measured.iloc[references]
    captions, size = list(rows["caption"]), settings.batch
    words = clip_score.embed_captions(judge, captions, size)

    def images(part: pd.DataFrame) -> Iterator[Images]:
        for at in tqdm(range(0, len(part), size), unit="batch", desc="floors", mininterval=1):
            yield store.images(pool, part.iloc[at : at + size])

    real = features.read(scorer, "features", settings.networks)
    scores = figures.measured(images(rows), [], size, judge, captions).scores
    after = figures.measured(map(through, images(rows)), [by], size, judge, captions)
    # Where every pair is a prompt and a reference, they are one set of images.
    coded = after if rows.equals(beside) else figures.measured(map(through, images(beside)), [by], size)
    whole = Measured(real, np.empty(0))
    side = Side(replace(whole.part(prompts), scores=scores), after)
    other = Side(whole.part(references), coded)
    found = figures.floors(side, other, settings) | {"psnr_reconstruction": through.psnr}
    card: dict[str, object] = {"floors": found}
    if "category" in measured:
        sides = rows["category"].to_numpy(str), beside["category"].to_numpy(str)
        card["category_floors"] = figures.by_category(side.real, other.real.features, *sides, settings)
    with files.whole_folder(out) as draft:
        # What a cell is measured by lies in one folder.
        shutil.copytree(scorer, draft / "scorer", ignore=shutil.ignore_patterns("features*.npy"))
        features.write(draft, "real", other.real.features)
        features.write(draft, "coded", coded.features)
        np.save(draft / "captions.npy", devices.host(words))
        for name, part in (("prompts", rows), ("references", beside)):
            part.filter(COLUMNS).to_parquet(draft / f"{name}.parquet", index=False)
        files.write_json(draft / "card.json", card)
        files.write_manifest(draft)
    floor = found[settings.fd_name]
    print(f"wrote {out}: {len(beside)} references, {settings.fd_name} of real images {floor:.1f}")
    print(verdict(found, settings.fd_name, classes(family_name).CODEC.remedy))


def with_category(pool: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column `category`, "" where unknown, if tables of the pool have one beside `id`."""
    columns = ["id", "category"]
    paths = [p for p in sorted(pool.glob("*.parquet")) if set(columns) <= set(pq.read_schema(p).names)]
    if not paths:
        return rows
    table = pd.concat([pd.read_parquet(path, columns=columns) for path in paths]).drop_duplicates("id")
    found = rows["id"].map(table.set_index("id")["category"])
    return rows.assign(category=found.astype("str").where(found.notna(), ""))


if __name__ == "__main__":
    stage(run)
