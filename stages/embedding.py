"""Ratings of every pair of the pool by embeddings of pretrained networks: CLIP score, SemDeDup, aesthetic."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from alchemist.core import devices, files
from alchemist.core.refusal import Refusal
from alchemist.measures import clip_score, features
from alchemist.pools import store
from alchemist.raters import aesthetic, bill, dedup
from alchemist.settings.device import device_setting
from alchemist.settings.evaluation import EvaluateSettings
from alchemist.settings.rater import AestheticRater, ClipScoreRater, SemDeDupRater, rater_settings
from stages.common import block, section, stage

CAPTIONS = 4096  # whose embeddings are held for the next pairs
KINDS = "clip_score, semdedup, aesthetic"


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    pool: Annotated[Path, typer.Option(help="folder that stage prepare wrote")],
    scorer: Annotated[Path, typer.Option(help="folder that stage scorer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write what was rated into")],
    time_out: Annotated[Path, typer.Option(help="JSON to write what the rating took to")],
) -> dict[str, Any]:
    """Rates the usable pairs of the pool by the networks that measure the generators."""
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    evaluate = block(EvaluateSettings, f"scales.{scale}.evaluate")
    device = devices.chosen(device_setting(section("device")))
    elapsed = devices.clock(device)
    files.check_manifest(pool)
    rows = store.usable(store.read_index(pool), "pool")
    first = rows.iloc[: evaluate.batch]
    images, words = store.images(pool, first), list(first["caption"])
    # One batch through the networks, before the clock runs: it counts their products, and warms them.
    counter = FlopCounterMode(display=False)
    with (
        tqdm(total=len(rows), unit="img", desc=rater, mininterval=1) as bar,
        files.whole_folder(log_out) as drafts,
    ):
        if isinstance(settings, ClipScoreRater):
            files.check_manifest(scorer)
            judge = clip_score.load_scorer(evaluate.clip, scorer, device)
            with counter:
                clip_score.score(judge, images, words, evaluate.batch)
            begun = elapsed()
            measure = clip_scores(judge, pool, rows, evaluate.batch, bar.update)
        elif isinstance(settings, SemDeDupRater):
            if settings.clusters is not None and settings.clusters > len(rows):
                raise Refusal(
                    f"raters.{rater}.clusters is {settings.clusters}; the pool has {len(rows)} usable pairs, "
                    "so at most that, or null for the root of it, is legal."
                )
            by = features.extractor(evaluate.features, evaluate.feature_size, device)
            with counter:
                features.extract(images, by, evaluate.batch)
            begun = elapsed()
            vectors = drafts / "features.npy"
            dedup.embed(pool, rows, by, evaluate.batch, vectors, bar.update)
            measure = dedup.novelty(
                vectors, list(rows["id"]), settings.clusters, settings.keep, settings.seed
            )
            vectors.unlink()
        elif isinstance(settings, AestheticRater):
            models = aesthetic.load(rater, device)
            with counter:
                aesthetic.score(*models, images, evaluate.batch)
            begun = elapsed()
            measure = aesthetic.score_pool(pool, rows, models, evaluate.batch, bar.update)
        else:
            raise Refusal(
                f"raters.{rater}.kind is {settings.kind!r}; legal values in grid.embeddings are {KINDS}."
            )
        taken = elapsed() - begun
        bill.write_table(out, rows["id"].to_numpy(), settings.direction * measure)
        flops = round(counter.get_total_flops() / len(first) * len(rows))
        files.write_json(drafts / "rating.json", bill.fixed_bill(rater, settings.kind, len(rows), flops))
    print(f"wrote {out} and {log_out}")
    return {"score_seconds": taken, "peak_bytes": devices.peak_memory(device)}


def clip_scores(
    judge: clip_score.Scorer, pool: Path, rows: pd.DataFrame, batch: int, tick: Callable[[int], object]
) -> np.ndarray:
    """Cosines (N,) of image and caption, streamed."""
    found = []
    for start in range(0, len(rows), batch):
        part = rows.iloc[start : start + batch]
        if len(judge.embedded) > CAPTIONS:
            judge.embedded.clear()  # else it would keep every caption of the pool
        scores = clip_score.score(judge, store.images(pool, part), list(part["caption"]), batch)
        found.append(scores / judge.scale)
        tick(len(part))
    return np.concatenate(found)


if __name__ == "__main__":
    stage(run)
