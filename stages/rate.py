"""Ratings of every pair of the pool by one rater: trained, computed from a loss, or random."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from tqdm import tqdm

from alchemist import files, meta, stateless, tokenizer, training
from alchemist.encoded import Encoded
from alchemist.family import StarGenerator
from alchemist.rater import Rater, Reference
from alchemist.refusal import Refusal
from alchemist.scratch import Scratch, fingerprint
from alchemist.settings.budget import RateSettings, TrainSettings
from alchemist.settings.model import StarSettings
from alchemist.settings.rater import LossRater, MetaRater, RandomRater, rater_settings
from alchemist.tokenizer import Tokenizer
from stages.common import block, section, stage

Tick = Callable[[int, str], object]


def _meta(
    data: Encoded, codes: Tokenizer, sizes: tuple[StarSettings, StarSettings], settings: MetaRater,
    budget: RateSettings, held: Scratch, tick: Tick, weights: Path,
) -> tuple[NDArray[np.float64], dict[str, Any]]:  # fmt: skip
    """Meta-trains a rater and rates the pool with it; its weights go to `weights`."""
    pool, validation = data.split("pool"), data.split("meta_val")
    proxy = StarGenerator(sizes[0], codes, settings.seed)
    rater = Rater(sizes[1], codes, settings.seed)
    log = meta.meta_train(proxy, rater, data, pool, validation, settings, budget, held, tick)
    rater.eval()
    chosen = meta.reference_rows(pool, budget.reference_group, settings.seed)
    features = meta.pooled_features(rater, data, chosen, budget.score_batch, lambda n: None)
    reference = Reference.of(rater, features)
    save_file(rater.state_dict(), weights)
    started = time.perf_counter()
    with tqdm(total=len(pool), unit="img", desc="score") as bar:
        ratings = meta.rate_pool(rater, data, pool, reference, settings, budget.score_batch, bar.update)
    facts = {
        "log": log,
        "score_seconds": time.perf_counter() - started,
        "reference_ids": data.rows["id"].iloc[chosen].tolist(),
        "reference_sha256": meta.digest(features),
        "weights_sha256": files.sha256(weights),
    }
    return ratings, facts


def _loss(
    data: Encoded, codes: Tokenizer, size: StarSettings, settings: LossRater, budget: RateSettings,
    held: Scratch, tick: Tick,
) -> tuple[NDArray[np.float64], dict[str, Any]]:  # fmt: skip
    """Trains a proxy plainly on the pool, with the images that the meta-rater's proxy sees of it."""
    pool = data.split("pool")
    proxy = StarGenerator(size, codes, settings.seed)
    train = TrainSettings(
        images=budget.images,
        batch=budget.batch,
        learning_rate=budget.proxy_learning_rate,
        weight_decay=budget.weight_decay,
        clip=budget.clip,
        schedule="constant",
        warmup_images=budget.warmup_images,
        ema_images=0.0,
        caption_dropout=budget.caption_dropout,
        checkpoints=(),
        precision=budget.precision,
    )
    stops = [budget.images // budget.batch * budget.batch]
    log = training.train(proxy, data, pool, train, settings.seed, stops, held, lambda n, g: None, tick)
    started = time.perf_counter()
    with tqdm(total=len(pool), unit="img", desc="score") as bar:
        losses = meta.pool_losses(proxy.eval(), data, pool, budget.score_batch, bar.update)
    return -losses, {"log": log, "score_seconds": time.perf_counter() - started}


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    proxy: Annotated[str, typer.Option(help="model that plays the proxy")],
    trunk: Annotated[str, typer.Option(help="model whose trunk the rater has")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    scale: Annotated[str, typer.Option(help="name of the scale in params.yaml")],
    out: Annotated[Path, typer.Option(help="table to write")],
    log_out: Annotated[Path, typer.Option(help="folder to write the training log and the weights into")],
    scratch: Annotated[Path, typer.Option(help="folder for the state of a run in progress")],
) -> None:
    """Rates the pool. Killed, it goes on when the same command runs again."""
    torch.set_flush_denormal(True)
    settings = rater_settings(section(f"raters.{rater}"), f"raters.{rater}")
    budget = block(RateSettings, f"scales.{scale}.rate")
    sizes = block(StarSettings, f"models.{proxy}"), block(StarSettings, f"models.{trunk}")
    data = Encoded(encoded)
    ids = data.rows["id"].iloc[data.split("pool")]
    mark = fingerprint(
        script=files.sha256(Path(__file__)),
        rater=settings.model_dump(),
        budget=budget.model_dump(),
        sizes=[size.model_dump() for size in sizes],
        data=files.sha256(encoded / files.MANIFEST),
        torch=torch.__version__,
    )
    started = time.perf_counter()
    with (
        Scratch(scratch, mark) as held,
        tqdm(total=budget.images, unit="img", desc=rater, mininterval=1) as bar,
        files.whole_folder(log_out) as drafts,
    ):

        def tick(images: int, words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(images)

        print(f"{rater}: {len(ids)} pairs; state in {held.folder}")
        codes = tokenizer.load(tokenizer_folder)
        facts: dict[str, Any]
        if isinstance(settings, MetaRater):
            weights = drafts / "rater.safetensors"
            ratings, facts = _meta(data, codes, sizes, settings, budget, held, tick, weights)
        elif isinstance(settings, LossRater):
            ratings, facts = _loss(data, codes, sizes[0], settings, budget, held, tick)
        elif isinstance(settings, RandomRater):
            ratings, facts = stateless.id_uniforms(list(ids), "random", settings.seed), {"log": []}
        else:
            raise Refusal(f"raters.{rater}.kind is {settings.kind!r}; the stage oracle writes its ratings.")
        with files.whole(out) as draft:
            pd.DataFrame({"id": ids.to_numpy(), "rating": ratings}).to_parquet(draft, index=False)
        facts |= {"rater": rater, "pairs": len(ids), "seconds": time.perf_counter() - started}
        files.write_json(drafts / "rating.json", facts)
        held.clear()
    print(f"wrote {out} and {log_out}")


if __name__ == "__main__":
    stage(run)
