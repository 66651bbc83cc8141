"""The evaluation images through a family's codec, and what a perfect generator would score."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import typer
from numpy.typing import NDArray

from alchemist.analysis.codec_verdict import verdict
from alchemist.core import devices, files, progress
from alchemist.core.settings.device import device_setting
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.given import block, section
from alchemist.core.settings.model import classes
from alchemist.measures import clip_score, features, figures, references, scorers
from alchemist.measures.clip_score import Scorer
from alchemist.measures.features import Extractor
from alchemist.measures.figures import Images, Measured, Side
from alchemist.measures.reconstruction import Reconstruction
from alchemist.models import family
from alchemist.pools import captions, store
from stages import stage

# Of prompts and references; the category where the pool has it, and of views those that there are.
CAPTIONS = 65_536  # of the pool, in memory at once
COLUMNS = ["id", "caption", "category", *references.VIEWS]


def run(
    family_name: Annotated[str, typer.Option("--family", help="model family")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    codec: Annotated[Path, typer.Option(help="folder of the family's image codec")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="folder to write")],
    time_out: Annotated[Path, typer.Option(help="JSON to write the stage's seconds and memory to")],
) -> dict[str, float]:
    """Takes the features of the coded evaluation images, and the floors of every figure."""
    settings = block(EvaluateSettings, f"scales.{scale}.evaluate")
    device = devices.chosen(device_setting(section("device")))
    store.check(pool)
    files.check_manifest(scorer)
    columns = ["caption", *references.COLUMNS, *store.PLACE]
    measured = with_category(pool, store.rows(pool, references.SPLITS, columns))
    held = (part["caption"].tolist() for part in store.parts(pool, ("pool",), CAPTIONS, ["caption"]))
    measured["in_pool"] = captions.among(measured["caption"].tolist(), held)
    where = f"scales.{scale}.evaluate"
    settings = settings.fitted(references.drawn(measured), where)
    rows, beside = references.sides(measured, settings, where)
    print(f"floors of {family_name}: {len(rows):,} prompts and {len(beside):,} references of {pool}")
    by = features.extractor(settings.features, settings.feature_size, device, settings.weights)
    judge = scorers.load_scorer(settings.clip, scorer, device, place=settings.weights.clip)
    noted = files.read_json(scorer / "card.json").get("weights", {})
    features.compare({by.name: by.digest, "clip": judge.digest}, noted, scorer)
    through = Reconstruction(family.load(family_name).codec(codec, device).reconstruct)
    size = settings.batch
    words = clip_score.embed_captions(judge, list(rows["caption"]), size)  # all at once, and kept

    def images(part: pd.DataFrame) -> Iterator[Images]:
        for at in progress.bar(range(0, len(part), size), unit="batch", desc="floors"):
            yield store.images(pool, part.iloc[at : at + size])

    def seen(part: pd.DataFrame, coded: bool, networks: list[Extractor], judge: Scorer | None) -> Measured:
        """What is measured of pairs, whose images are read in the order of the files."""
        order = store.forward(part)
        ahead = part.iloc[order]
        pictures = map(through, images(ahead)) if coded else images(ahead)
        found = figures.measured(pictures, networks, size, judge, list(ahead["caption"]))
        return found.part(np.argsort(order))

    real = features.read(scorer, "features", settings.networks)
    scores = seen(rows, False, [], judge).scores
    after = seen(rows, True, [by], judge)
    # Where every pair is a prompt and a reference, they are one set of images.
    coded = after if rows.equals(beside) else seen(beside, True, [by], None)

    def of(part: pd.DataFrame, scores: NDArray[np.float64]) -> Measured:
        at = measured.index.get_indexer(part.index)
        return Measured({name: found[at] for name, found in real.items()}, scores)

    side, other = Side(of(rows, scores), after), Side(of(beside, np.empty(0)), coded)
    views = references.views(rows, beside, settings.decides)
    found = {
        name: figures.floors(side.part(view.prompts), other.part(view.references), settings)
        for name, view in views.items()
    }
    found[settings.decides]["psnr_reconstruction"] = through.psnr
    card: dict[str, object] = {"floors": found[settings.decides]}
    if len(views) > 1:
        card["reference_floors"] = {name: view.sizes() | found[name] for name, view in views.items()}
    decides = views[settings.decides]
    if "category" in measured:
        ours, theirs = side.real.part(decides.prompts), other.real.part(decides.references)
        sides = (
            rows["category"].to_numpy(str)[decides.prompts],
            beside["category"].to_numpy(str)[decides.references],
        )
        card["category_floors"] = figures.by_category(ours, theirs.features, *sides, settings)
    if silent := files.read_json(scorer / "card.json").get("silent"):
        card["clip_silent"] = silent
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
    told = ", ".join(
        f"{name} {view.prompts.sum():,} and {view.references.sum():,} ({found[name][settings.fd_name]:.1f})"
        for name, view in views.items()
    )
    print(f"wrote {out}: prompts and references ({settings.fd_name} of real images): {told}")
    print(verdict(found[settings.decides], settings.fd_name, classes(family_name).CODEC.remedy))
    return {"peak_bytes": devices.peak_memory(device)}


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
