"""Images/s and peak memory of the raters that need no training of their own, by the size of the pool.

    python -m benchmarks.raters [PAIRS …] [--only NAME …] [--light]

Each case runs in a process of its own on a pool of random 32 px images (random tokens for raters
that read the proxy's), each with a short caption of its own, in the sizes of params.yaml. `worker` is
the largest process of a measure that runs in several. `--light` takes tiny networks: it shows in a
short time how memory grows with the pool, and no real speed. The row `index` is a process that only
reads the index and the modules.
"""

import argparse
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from alchemist.core import stateless
from alchemist.pools import store
from alchemist.pools.row import Row
from alchemist.pools.store import read_index, write_pool
from alchemist.raters import pixels
from benchmarks import given

RESOLUTION, SHARD = 32, 16_384
IMAGES = ("index", *pixels.MEASURES)
NETWORKS = ("clip_score", "semdedup")
ENCODED = ("loss", "el2n", "caption_gain", "meta")


def caption(number: int) -> str:
    """A short caption that no other pair has."""
    return f"picture number {number}"


def rows(count: int) -> Iterator[Row]:
    """Random images, a block at a time."""
    for start in range(0, count, 1000):
        shape = (min(1000, count - start), RESOLUTION, RESOLUTION, 3)
        images = stateless.generator("benchmark", start).integers(0, 256, shape, dtype=np.uint8)
        for i, image in enumerate(images, start):
            yield Row(f"pair-{i:09d}", caption(i), "pool", f"group-{i:09d}", image, "", None)


def make(folder: Path, count: int) -> None:
    """Writes a pool and its encoded pairs."""
    from alchemist.families.star import tokenizer
    from alchemist.models.encoded import Writer

    (folder / "pool").mkdir()
    (folder / "encoded").mkdir()
    write_pool(folder / "pool", rows(count), RESOLUTION, SHARD, {})
    params = given.params()
    config = tokenizer.load(Path("assets/codecs") / params["codecs"]["star"]["asset"]).config
    rng = stateless.generator("benchmark tokens")
    tokens = rng.integers(0, config.codes, (count, config.tokens), dtype=np.uint16)
    table = pd.DataFrame({"id": [f"pair-{i:09d}" for i in range(count)], "split": "pool"})
    table = table.assign(text=1 + np.arange(count), lent=False, cluster=np.arange(count, dtype=np.uint64))
    with Writer(folder / "encoded") as writer:
        writer.rows(table)
        writer.append({"tokens": tokens})
        writer.captions((rng.normal(size=(6, 384)).astype(np.float16), None) for _ in range(count + 1))


def by_images(case: str, folder: Path) -> tuple[float, float]:
    """Seconds of a pixel measure, and the peak memory of its largest process in MiB."""
    index = read_index(folder)
    peaks = [0.0]

    def look(_: int) -> None:
        for worker in multiprocessing.active_children():
            # getrusage would count what the parent had when it started the worker.
            status = Path(f"/proc/{worker.pid}/status").read_text()
            peaks.append(int(status.split("VmHWM:")[1].split()[0]) / 2**10)

    started = time.perf_counter()
    if case != "index":
        pixels.score_pool(folder, index, case, os.cpu_count() or 1, look)
    return time.perf_counter() - started, max(peaks)


def by_networks(case: str, folder: Path, light: bool) -> float:
    """Seconds of a rater on pretrained networks; LiT is hardly trained, which costs the same."""
    from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings
    from alchemist.measures import features, scorers, vectors
    from alchemist.raters import dedup
    from alchemist.raters.embedding import cosines

    params = given.params()
    evaluate = EvaluateSettings(**params["scales"]["tiny"]["evaluate"])
    index = read_index(folder)
    if case == "clip_score":
        wanted = params["scales"]["tiny"]["scorer"] | {"steps": 1, "batch": 16}
        settings = ScorerSettings(**(wanted | ({"image_size": 32} if light else {})))
        first = index.iloc[:16]
        judge = scorers.fit_lit([store.images(folder, first)], list(first["caption"]), settings)
        started = time.perf_counter()
        for start in range(0, len(index), evaluate.batch):
            part = index.iloc[start : start + evaluate.batch]
            cosines(judge, store.images(folder, part), list(part["caption"]), evaluate.batch)
        return time.perf_counter() - started
    by = features.extractor("lite0", 32 if light else evaluate.feature_size)
    with tempfile.TemporaryDirectory() as drafts:
        started = time.perf_counter()
        file, batch = Path(drafts) / "features.npy", evaluate.batch
        extract = partial(features.extract, by=by, batch=batch)
        vectors.write(folder, index, extract, batch, file, lambda n: None)
        dedup.novelty(file, index.assign(lent=False), None, "hard", 0)
        return time.perf_counter() - started


def by_encoded(case: str, folder: Path, light: bool) -> float:
    """Seconds of scoring by a proxy, or by a rater that was trained elsewhere."""
    from alchemist.core import devices
    from alchemist.core.settings.budget import RateSettings
    from alchemist.families.star.generator import StarGenerator, StarTrunk, open_codec
    from alchemist.families.star.settings import StarSettings
    from alchemist.models.encoded import Encoded
    from alchemist.raters import score
    from alchemist.raters.kinds.meta import MetaRater
    from alchemist.raters.network import Group, Rater

    params = given.params()
    device = devices.chosen(params["device"])
    codec = open_codec(Path("assets/codecs") / params["codecs"]["star"]["asset"], device)
    tiny = {"depth": 1, "width": 32, "heads": 2} if light else {}
    proxy, trunk = (
        StarSettings(**(params["models"][params["roles"][role]] | tiny)) for role in ("proxy", "rater")
    )
    batch = RateSettings(**params["scales"]["tiny"]["rate"]).score_batch
    data = Encoded(folder)
    pool = data.pool()
    if case == "meta":
        settings = MetaRater(**params["raters"]["alchemist"])
        rater = Rater(StarTrunk(trunk, codec, 0), 0).to(device).eval()
        beside = Group.of(rater, score.pooled_features(rater, data, pool.numbers[:255], batch))
        elapsed = devices.clock(device)
        score.rate_pool(rater, data, pool, beside, settings, batch, lambda n: None)
        return elapsed()
    generator = StarGenerator(proxy, codec, 0).to(device).eval()
    elapsed = devices.clock(device)
    if case == "loss":
        score.pool_losses(generator, data, pool, batch, lambda n: None)
    elif case == "el2n":
        score.error_norms(generator, data, pool, batch, lambda n: None)
    else:
        score.caption_losses(generator, data, pool, batch, lambda n: None)
    return elapsed()


def measure(case: str, folder: Path, count: int, light: bool) -> str:
    """One row of the table."""
    worker = 0.0
    if case in IMAGES:
        seconds, worker = by_images(case, folder / "pool")
    elif case in NETWORKS:
        seconds = by_networks(case, folder / "pool", light)
    else:
        seconds = by_encoded(case, folder / "encoded", light)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    rate = f"{count / seconds:>10,.0f}" if case != "index" else f"{'':>10}"
    more = f"{worker:>8.0f} MiB" if worker else ""
    return f"{count:>9,}  {case:<14}{seconds:>9.1f} s{rate} images/s{peak:>8.0f} MiB{more}"


def main() -> None:
    """Prints one table."""
    cases = [*IMAGES, *NETWORKS, *ENCODED]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", type=int, default=[10_000, 40_000, 160_000])
    parser.add_argument("--only", nargs="*", choices=cases, default=cases)
    parser.add_argument("--light", action="store_true")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)  # the pool of a single case
    asked = parser.parse_args()
    if asked.folder is not None:
        case, count = asked.only[0], asked.pairs[0]
        if (asked.folder / "pool").is_dir():
            print(measure(case, asked.folder, count, asked.light), flush=True)
        else:
            make(asked.folder, count)
        return
    print(f"{'pairs':>9}  {'rater':<14}{'time':>11}{'rate':>19}{'peak':>12}{'worker':>12}", flush=True)
    for count in asked.pairs:
        with tempfile.TemporaryDirectory() as folder:
            single = [sys.executable, "-m", "benchmarks.raters", str(count), "--folder", folder]
            single += ["--light"] * asked.light
            subprocess.run([*single, "--only", "index"], check=True)  # makes the pool
            for case in asked.only:
                subprocess.run([*single, "--only", case], check=True)


if __name__ == "__main__":
    main()
