"""Ratings of every pair by one rater and seed: meta-trained, read off a plain proxy, or random."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from alchemist.core import files, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch, fingerprint
from alchemist.models import training
from alchemist.models.encoded import Encoded
from alchemist.models.star import tokenizer
from alchemist.models.star.generator import StarGenerator
from alchemist.models.star.tokenizer import Tokenizer
from alchemist.raters import meta
from alchemist.raters import proxy as controls
from alchemist.raters.bill import write_table
from alchemist.raters.network import Rater, Reference
from alchemist.settings.budget import RateSettings, TrainSettings
from alchemist.settings.model import StarSettings
from alchemist.settings.rater import (
    LISTS,
    CaptionBandRater,
    CaptionGainRater,
    El2nRater,
    LossRater,
    MetaRater,
    RandomRater,
    ReferenceLossRater,
    rater_settings,
)
from stages.common import block, section, stage

Tick = Callable[[int, str], object]
Found = tuple[NDArray[np.float64], dict[str, Any]]


def _meta(
    data: Encoded, codes: Tokenizer, sizes: tuple[StarSettings, StarSettings], settings: MetaRater, seed: int,
    budget: RateSettings, held: Scratch, tick: Tick,
) -> tuple[Rater, dict[str, Any]]:  # fmt: skip
    """Meta-trains a rater; with its log and what it cost."""
    pool, validation = data.split("pool"), data.split("meta_val")
    started = time.perf_counter()
    flops = _step_flops(data, codes, sizes, settings, budget, held)
    counting = time.perf_counter() - started
    proxy, rater = StarGenerator(sizes[0], codes, seed), Rater(sizes[1], codes, seed)
    log = meta.meta_train(proxy, rater, data, pool, validation, settings, seed, budget, held, tick)
    # While the reference model warms up, it alone trains.
    warm = settings.reference_warmup or 0.0
    each = (1 - warm) * flops + warm * 3 * training.forward_flops(
        proxy.losses, data.batch(pool[: budget.batch])
    )
    return rater, {"log": log, "counting_seconds": counting, "train_flops": each * budget.images}


def _carried(rater: Rater, source: Path, key: str) -> tuple[Rater, dict[str, Any]]:
    """A rater with the weights of one that was trained elsewhere, at no cost here."""
    if not source.is_file():
        raise Refusal(f"{key} names {source}, which is missing; put a data/raters/…/rater.safetensors there.")
    try:
        rater.load_state_dict(load_file(source))
    except (RuntimeError, SafetensorError) as error:
        words = str(error).splitlines()[-1].strip()
        raise Refusal(
            f"{key} names {source}, which does not fit: {words} A rater of the same trunk is legal."
        ) from None
    return rater, {"log": [], "train_flops": 0.0, "carried_from": str(source)}


def _rated(
    rater: Rater, data: Encoded, settings: MetaRater, seed: int, budget: RateSettings, weights: Path
) -> Found:
    """The pool's ratings by a trained rater, whose weights go to `weights`."""
    pool = data.split("pool")
    rater.eval()
    chosen = meta.reference_rows(pool, budget.reference_group, seed)
    features = meta.pooled_features(rater, data, chosen, budget.score_batch, lambda n: None)
    reference = Reference.of(rater, features)
    save_file(rater.state_dict(), weights)
    started = time.perf_counter()
    with tqdm(total=len(pool), unit="img", desc="score") as bar:
        ratings = meta.rate_pool(rater, data, pool, reference, settings, budget.score_batch, bar.update)
    return ratings, {
        "score_seconds": time.perf_counter() - started,
        "score_flops": training.forward_flops(rater.features, data.batch(pool[: budget.score_batch]))
        * len(pool),
        "reference_ids": data.rows["id"].iloc[chosen].tolist(),
        "reference_sha256": meta.digest(features),
        "weights_sha256": files.sha256(weights),
    }


def _step_flops(
    data: Encoded, codes: Tokenizer, sizes: tuple[StarSettings, StarSettings], settings: MetaRater,
    budget: RateSettings, held: Scratch,
) -> float:  # fmt: skip
    """FLOPs an image of the pool after the warm-up: what a second window of steps adds, on trial networks."""
    window = settings.model_copy(
        update={
            "epochs": 1,
            "upper_weight": min(settings.upper_weight, 1 - settings.upper_decay),
            "reference_warmup": None if settings.reference_warmup is None else 0.0,
        }
    )
    images = budget.batch * (settings.unroll_steps or 1)
    counted = []
    for windows in (1, 2):  # of unrolled steps, the first moves no rater
        short = budget.model_copy(update={"images": windows * images})
        trial_mark = fingerprint(of=held.mark, windows=windows)
        with (
            Scratch(held.folder.parent, trial_mark) as trial,
            FlopCounterMode(display=False) as counter,
        ):
            meta.meta_train(
                StarGenerator(sizes[0], codes, 0), Rater(sizes[1], codes, 0), data, data.split("pool"),
                data.split("meta_val"), window, 0, short, trial, lambda n, words: None,
            )  # fmt: skip
            trial.clear()
        counted.append(counter.get_total_flops())
    return float(counted[1] - counted[0]) / images


def _plain(
    data: Encoded, rows: NDArray[np.int64], proxy: StarGenerator, seed: int, budget: RateSettings,
    held: Scratch, tick: Tick, shares: tuple[float, ...] = (),
    at_stop: Callable[[int, StarGenerator], None] = lambda n, g: None,
) -> dict[str, Any]:  # fmt: skip
    """Trains a proxy plainly on rows, on as many images as a meta-trained rater sees of the pool."""
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
    steps = budget.images // budget.batch
    stops = sorted({max(1, round(share * steps)) * budget.batch for share in shares} | {steps * budget.batch})
    log = training.train(proxy, data, rows, train, seed, stops, held, at_stop, tick)
    proxy.eval()
    pool = data.split("pool")
    # A backward pass costs twice a forward pass.
    return {
        "log": log,
        "train_flops": 3 * training.forward_flops(proxy.losses, data.batch(pool[: budget.batch])) * stops[-1],
    }


def _proxy(
    data: Encoded, codes: Tokenizer, size: StarSettings,
    settings: LossRater | El2nRater | CaptionGainRater | CaptionBandRater | ReferenceLossRater, seed: int,
    budget: RateSettings, held: Scratch, tick: Tick,
) -> Found:  # fmt: skip
    """What a proxy that was trained plainly on the pool says of each pair, times the rater's direction."""
    pool, batch = data.split("pool"), budget.score_batch
    proxy, passes, spent = StarGenerator(size, codes, seed), 1, 0.0
    if isinstance(settings, El2nRater):
        last = max(1, round(max(settings.checkpoints) * (budget.images // budget.batch))) * budget.batch

        def measure(seen: int, at: StarGenerator) -> None:
            # A stop beyond the last checkpoint only ends the run. Kept beside the state, so that a
            # resumed run has those of before.
            nonlocal spent
            if seen <= last:
                begun = time.perf_counter()
                with files.whole(held.folder / f"el2n-{seen:09d}.npy") as draft, draft.open("wb") as file:
                    np.save(file, controls.el2n(at, data, pool, batch, lambda n: None))
                spent += time.perf_counter() - begun

        facts = _plain(data, pool, proxy, seed, budget, held, tick, settings.checkpoints, measure)
        kept = sorted(held.folder.glob("el2n-*.npy"))
        found, passes = np.mean([np.load(path) for path in kept], axis=0), len(kept)
    else:
        facts = _plain(data, pool, proxy, seed, budget, held, tick)
        started = time.perf_counter()
        with tqdm(total=len(pool), unit="img", desc="score") as bar:
            if isinstance(settings, CaptionGainRater | CaptionBandRater):
                given, empty = controls.caption_losses(proxy, data, pool, batch, bar.update)
                found, passes = empty - given, 2
                if isinstance(settings, CaptionBandRater):
                    found = controls.caption_band(given, found, settings.centre, settings.mismatched)
            else:
                found = meta.pool_losses(proxy, data, pool, batch, bar.update)
        spent = time.perf_counter() - started
    if isinstance(settings, ReferenceLossRater):
        other = StarGenerator(size, codes, seed)
        with Scratch(held.folder.parent, fingerprint(second=held.mark)) as second:
            more = _plain(data, data.split("meta_val"), other, seed, budget, second, lambda n, words: None)
            second.clear()
        started = time.perf_counter()
        found, passes = found - meta.pool_losses(other, data, pool, batch, lambda n: None), 2
        spent += time.perf_counter() - started
        facts["train_flops"] += more["train_flops"]
        # The log's last row holds the seconds of all tries, here of both proxies.
        facts["log"][-1]["seconds"] += more["log"][-1]["seconds"]
    flops = passes * training.forward_flops(proxy.losses, data.batch(pool[:batch])) * len(pool)
    direction = 1 if isinstance(settings, CaptionBandRater) else settings.direction
    return direction * found, {**facts, "score_seconds": spent, "score_flops": flops}


def run(
    rater: Annotated[str, typer.Option(help="name of the rater in params.yaml")],
    seed: Annotated[int, typer.Option(help="of weights, order and dropout", min=0)],
    proxy: Annotated[str, typer.Option(help="model that plays the proxy")],
    trunk: Annotated[str, typer.Option(help="model whose trunk the rater has")],
    encoded: Annotated[Path, typer.Option(help="folder that stage encode wrote")],
    tokenizer_folder: Annotated[Path, typer.Option("--tokenizer", help="folder that stage tokenizer wrote")],
    assets: Annotated[Path, typer.Option(help="folder of raters that were trained elsewhere")],
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
        seed=seed,
        budget=budget.model_dump(),
        sizes=[size.model_dump() for size in sizes],
        data=files.sha256(encoded / files.MANIFEST),
        torch=torch.__version__,
    )
    started = time.perf_counter()
    with (
        Scratch(scratch, mark) as held,
        tqdm(total=budget.images, unit="img", desc=f"{rater}, seed {seed}", mininterval=1) as bar,
        files.whole_folder(log_out) as drafts,
    ):

        def tick(images: int, words: str) -> None:
            bar.set_postfix_str(words, refresh=False)
            bar.update(images)

        print(f"{rater}, seed {seed}: {len(ids)} pairs; state in {held.folder}")
        codes = tokenizer.load(tokenizer_folder)
        facts: dict[str, Any]
        if isinstance(settings, MetaRater):
            if settings.weights is None:
                network, trained = _meta(data, codes, sizes, settings, seed, budget, held, tick)
            else:
                source = assets / settings.weights / f"{seed}.safetensors"
                network, trained = _carried(Rater(sizes[1], codes, seed), source, f"raters.{rater}.weights")
            weights = drafts / "rater.safetensors"
            ratings, facts = _rated(network, data, settings, seed, budget, weights)
            facts |= trained
        elif isinstance(
            settings, LossRater | El2nRater | CaptionGainRater | CaptionBandRater | ReferenceLossRater
        ):
            ratings, facts = _proxy(data, codes, sizes[0], settings, seed, budget, held, tick)
        elif isinstance(settings, RandomRater):
            ratings = stateless.id_uniforms(list(ids), "random", seed)
            facts = {"log": [], "train_flops": 0.0, "score_flops": 0.0}
        else:
            raise Refusal(
                f"raters.{rater}.kind is {settings.kind!r}, which this stage does not rate; name it in "
                f"grid.{LISTS[settings.kind]}."
            )
        write_table(out, ids.to_numpy(), ratings)
        facts |= {
            "rater": rater,
            "seed": seed,
            "kind": settings.kind,
            "pairs": len(ids),
            # Counting operations is no part of what a rating costs.
            "seconds": time.perf_counter() - started - facts.get("counting_seconds", 0.0),
        }
        files.write_json(drafts / "rating.json", facts)
        held.clear()
    print(f"wrote {out} and {log_out}")


if __name__ == "__main__":
    stage(run)
