"""Seconds and peak memory of passes, and of what follows them, by the size of the pool.

    python -m benchmarks.million [PAIRS …] [--only STEP …] [--folder FOLDER]

The pool is synthetic: an index as prepare leaves it, ratings, and tars of 10,000 pairs each, sparse files of
zeros that take no disk, but for the pairs of one task in the middle, which are JPEGs of 32 px. The tables of
all shards, features of 8 numbers and encoded pairs of 2 bytes are synthetic too. Each step runs in a process
of its own, on one core, and its seconds are those of the processor. 10 million pairs take 3 GB of disk.
"""

import argparse
import contextlib
import functools
import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from alchemist.core import process

process.prepare()  # as a stage does, before NumPy and Arrow are loaded

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from PIL import Image  # noqa: E402

from alchemist.core import files, stateless, tables  # noqa: E402
from alchemist.passes.run import ROWS  # noqa: E402
from alchemist.passes.shards import Shards  # noqa: E402
from alchemist.pools import store  # noqa: E402
from alchemist.pools.row import crc  # noqa: E402
from alchemist.pools.table import ROW_GROUP  # noqa: E402
from benchmarks import given  # noqa: E402

SIZES = (10_000, 160_000, 10_000_000)
A_TAR = 10_000  # pairs
BYTES = 1024  # of an image
READ = 64_000  # pairs that the loader gives
PICTURES, SIDE = 64, 32  # different ones, and their pixels
TASK = 2048  # pairs of a task that reads pictures: fewer than by default, for speed
FEATURES = 8  # of a pair, where those of lite0 are 1,280

Numbers = NDArray[np.int64]


def make(folder: Path, count: int) -> None:
    """The pool, its ratings and a params.json, streamed."""
    params = given.params()
    files.write_json(
        folder / "data/params.json",
        files.sealed({"selections": params["selections"], "grid": {"seeds": [0]}}),
    )
    (folder / "tars").mkdir()
    real = range(middle(count) * TASK, min(count, (middle(count) + 1) * TASK))
    for tar in range(-(-count // A_TAR)):
        with (folder / f"tars/{tar:06d}.tar").open("wb") as file:
            file.truncate(A_TAR * BYTES)
            for i in range(max(tar * A_TAR, real.start), min((tar + 1) * A_TAR, real.stop)):
                file.seek(i % A_TAR * BYTES)
                file.write(pictures()[i % PICTURES])
    pool, ratings = folder / "data/pool", folder / "data/ratings/loss/0.parquet"
    pool.mkdir(parents=True)
    ratings.parent.mkdir(parents=True)
    schema = pa.schema([("id", pa.string()), ("rating", pa.float64()), ("lent", pa.bool_())])
    schema = schema.with_metadata({tables.ROWS: str(count)})
    with (
        pq.ParquetWriter(pool / store.INDEX, store._SCHEMA) as index,
        pq.ParquetWriter(ratings, schema) as rated,
    ):
        for first in range(0, count, ROW_GROUP):
            numbers = np.arange(first, min(first + ROW_GROUP, count))
            ids = named(numbers)
            rating = stateless.uniforms(1, numbers)
            rated.write_table(pa.table([ids, rating, np.zeros(len(ids), dtype=bool)], schema=schema))
            index.write_table(_index(numbers, ids, real))
    card = {
        "pool": "mine", "settings": {"format": "webdataset"}, "resolution": 32,
        "roots": {"mine": str(folder / "tars")},
    }  # fmt: skip
    files.write_json(pool / store.CARD, card)
    files.write_manifest(pool)


def middle(count: int) -> int:
    """The number of the task whose pairs have pictures."""
    return count // TASK // 2


def named(numbers: Numbers) -> list[str]:
    """Ids, in ascending order."""
    return [f"{i // A_TAR:06d}/{i:012d}" for i in numbers]


@functools.cache
def pictures() -> list[bytes]:
    """JPEGs of smooth colours, filled up with zeros, which no decoder minds."""
    across = np.linspace(0, 2 * np.pi, SIDE)
    found = []
    for number in range(PICTURES):
        waves = [np.add.outer(np.sin(k * across + number), np.cos(across * number / 9)) for k in (1, 2, 3)]
        file = io.BytesIO()
        Image.fromarray((127 + 60 * np.stack(waves, -1)).astype(np.uint8)).save(file, "JPEG")
        found.append(file.getvalue().ljust(BYTES, b"\0"))
    assert {len(one) for one in found} == {BYTES}
    return found


def _index(numbers: Numbers, ids: list[str], real: range) -> pa.Table:
    """Rows of the index: usable pairs of the split pool, one behind the other in their tars."""
    count, zeros, crcs = len(ids), crc(bytes(BYTES)), [crc(one) for one in pictures()]
    columns = {
        "id": ids,
        "caption": [f"picture {i}, with as many words beside it as an alt text has" for i in numbers],
        "split": ["pool"] * count, "group": ids, "status": ["ok"] * count, "reason": [""] * count,
        "source": ["mine"] * count, "lent": [False] * count, "cluster": numbers, "pixels": numbers,
        "place": ["file"] * count, "file": [f"{i // A_TAR:06d}.tar" for i in numbers], "column": [""] * count,
        "offset": numbers % A_TAR * BYTES, "size": [BYTES] * count,
        "crc": [crcs[i % PICTURES] if i in real else zeros for i in numbers.tolist()],
    }  # fmt: skip
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in store._SCHEMA]
    return pa.table(arrays, schema=store._SCHEMA)


def passes(count: int) -> dict[str, Shards]:
    """Three passes over the pool: ratings, features, and encoded pairs beside their ids."""
    from alchemist.raters import bill, embedding
    from stages import encode

    schemas = {"rated": bill.SCHEMA, "features": embedding.FEATURES, "encoded": encode.SCHEMA}
    return {
        name: Shards(Path("shards") / name, {"of": name}, -(-count // ROWS), schema)
        for name, schema in schemas.items()
    }


def make_shards(count: int) -> None:
    """All shards of the three passes, as their tasks would leave them."""
    from alchemist.models import encoded

    def work(kind: str, number: int, drafts: Path) -> pd.DataFrame:
        numbers = np.arange(number * ROWS, min((number + 1) * ROWS, count))
        ids, lent = named(numbers), np.zeros(len(numbers), dtype=bool)
        rating = stateless.uniforms(1, numbers)
        if kind == "features":
            features = np.repeat(rating, FEATURES).astype(np.float16).reshape(-1, FEATURES)
            return pd.DataFrame({"id": ids, "features": [one.tobytes() for one in features], "lent": lent})
        if kind == "encoded":
            state = np.ones((1, 1), np.float16), None
            with encoded.Writer(drafts, codec="none", text_encoder="none", text={}, text_sha256="") as writer:
                told = {"id": ids, "split": "pool", "text": 1 + np.arange(len(ids)), "lent": lent}
                writer.rows(pd.DataFrame({**told, "cluster": numbers.astype(np.uint64)}))
                writer.append({"tokens": numbers.astype(np.uint16)[:, None]})
                writer.captions(state for _ in range(len(ids) + 1))
        return pd.DataFrame({"id": ids, "rating": rating, "lent": lent})

    for name, shards in passes(count).items():
        shards.begin()
        for number in range(shards.count):
            shards.make(number, functools.partial(work, name))


# ---------------------------------------------------------------------- the steps


def prune() -> None:
    """The kept half."""
    from stages import prune as stage

    stage.run(Path("data/ratings"), "loss", 0.5, Path("data/subsets/loss/0.5"))


def _export(form: str) -> None:
    from stages import export

    export.run(
        "loss", Path(f"out-{form}"), 0.5, 0, export.Format(form), Path("data/pool"), Path("data/ratings"),
        Path("data/subsets"),
    )  # fmt: skip


def table() -> None:
    """Every pair with its outcome."""
    _export("parquet")


def index() -> None:
    """The loader's index of the kept half."""
    _export("loader")


def load() -> None:
    """Pairs in the loader's order, a batch at a time."""
    from alchemist.kept.loader import KeptPairs

    pairs = KeptPairs("out-loader", batch=64)
    for number, _ in enumerate(pairs, 1):
        if number == READ:
            return


def pairs() -> int:
    """Of the pool of this folder."""
    from alchemist.pools.index import size

    return size(Path("data/pool"))


def shard() -> None:
    """The rows of one shard in the middle, as a pass reads them."""
    from alchemist.pools.index import part
    from alchemist.raters.scoring import READ

    count = pairs()
    assert len(part(Path("data/pool"), count // 2, 4096, READ)) == min(4096, count - count // 2)


def heuristic() -> None:
    """A task of the pass of a measure of pixels, in one process."""
    from alchemist.raters import pixels

    _task(pixels.worker(Path("data/pool"), "clarity", 1, TASK, 1))


def embedding() -> None:
    """A task of the pass that takes the features of SemDeDup."""
    from alchemist.core.settings.evaluation import EvaluateSettings
    from alchemist.raters import embedding
    from alchemist.raters.kinds.semdedup import SemDeDupRater

    run = embedding.Embedding("semdedup", Path(), EvaluateSettings(), "cpu", pairs())
    _task(embedding.worker(run, SemDeDupRater(kind="semdedup"), Path("data/pool"), TASK))


def encode() -> None:
    """A task of the pass that encodes, by STAR's tokenizer of the repo and MiniLM."""
    from alchemist.core.settings.budget import EncodeSettings
    from alchemist.core.settings.text import of_family
    from stages import encode as stage

    settings = EncodeSettings(rows=TASK)
    _task(stage.worker("star", CODEC, of_family({}, "star"), "text", Path("data/pool"), settings, "cpu"))


def _task(work: Callable[[int, Path], pd.DataFrame]) -> None:
    with tempfile.TemporaryDirectory(dir=".") as drafts:
        assert len(work(middle(pairs()), Path(drafts))) == min(TASK, pairs())


def count() -> None:
    """What a pass asks before it begins: rows of the index, and how many of them are rated."""
    from alchemist.pools.index import count_rated

    assert count_rated(Path("data/pool")) == pairs()


def check() -> None:
    """The hashes of the pool's files."""
    store.check(Path("data/pool"))


def missing() -> None:
    """The hashes of all shards of a pass that encodes."""
    assert not passes(pairs())["encoded"].missing()


def join_ratings() -> None:
    """One table of all ratings."""
    passes(pairs())["rated"].join(Path("joined/ratings.parquet"))


def sort_ratings() -> None:
    """One table of all ratings by id, as a stage leaves it."""
    passes(pairs())["rated"].sort(Path("joined/sorted.parquet"), "id")


def join_features() -> None:
    """The features of all shards in one file, and a table of ratings by them."""
    from alchemist.raters import bill, embedding

    shards = passes(pairs())["features"]
    Path("joined").mkdir(exist_ok=True)
    rated = embedding.joined(map(shards.table, range(shards.count)), Path("joined/features.npy"))
    rating = np.load("joined/features.npy", mmap_mode="r")[:, 0].astype(np.float64)
    bill.write_table(Path("joined/of_all.parquet"), rated["id"], rating, rated["lent"].to_numpy())


def join_encoded() -> None:
    """One folder of the encoded pairs of all shards."""
    from alchemist.models import encoded

    shards = passes(pairs())["encoded"]
    with files.whole_folder(Path("joined/encoded")) as draft:
        encoded.join([shards.beside(number) for number in range(shards.count)], draft)


def open_encoded() -> None:
    """The encoded pairs as whoever trains opens them: ids, splits, captions' bounds, and the order."""
    from alchemist.models.encoded import Encoded

    assert len(Encoded(Path("joined/encoded")).rated()) == pairs()


CODEC = (Path("assets/codecs") / given.params()["codecs"]["star"]["asset"]).absolute()
AFTER: dict[str, Callable[[], None]] = {
    "prune": prune, "export parquet": table, "export loader": index, "load 64,000 pairs": load,
}  # fmt: skip
PASSES: dict[str, Callable[[], None]] = {
    "read one shard": shard, "heuristic task": heuristic, "embedding task": embedding,
    "encode task": encode, "count pairs": count, "check pool": check, "missing": missing,
    "join ratings": join_ratings, "sort ratings": sort_ratings, "join features": join_features,
    "join encoded": join_encoded, "open encoded": open_encoded,
}  # fmt: skip
STEPS = {**AFTER, **PASSES}


def measured(step: str, folder: Path) -> tuple[float, float]:
    """Seconds and peak MiB of a step in a process of its own, without the start of Python."""
    told = subprocess.run(
        [sys.executable, "-m", "benchmarks.million", "--step", step, "--folder", str(folder)],
        capture_output=True, text=True, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    ).stdout  # fmt: skip
    seconds, peak = told.split()[-2:]
    return float(seconds), float(peak)


def main() -> None:
    """Prints a row a step and size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pairs", nargs="*", type=int, default=SIZES)
    parser.add_argument(
        "--folder", type=Path, help="where the pools lie; a temporary one where it is left out"
    )
    parser.add_argument("--only", nargs="*", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--step", choices=STEPS, help="run one step in --folder, for the command itself")
    asked = parser.parse_args()
    if asked.step:
        with contextlib.chdir(asked.folder):
            begun = time.process_time()
            STEPS[asked.step]()
        peak = process.peak() / 2**20
        print(f"{time.process_time() - begun:.2f} {peak:.0f}")
        return
    print(f"{'pairs':>12}  {'step':<20}{'s':>9}{'MiB':>8}", flush=True)
    for count in asked.pairs:
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            make(Path(folder), count)
            _print(count, [step for step in AFTER if step in asked.only], Path(folder))
            for out in Path(folder).glob("out-*"):  # room for the shards
                shutil.rmtree(out)
            steps = [step for step in PASSES if step in asked.only]
            if steps:
                with contextlib.chdir(folder):
                    make_shards(count)
            _print(count, steps, Path(folder))


def _print(count: int, steps: list[str], folder: Path) -> None:
    for step in steps:
        seconds, peak = measured(step, folder)
        print(f"{count:>12,}  {step:<20}{seconds:>9.1f}{peak:>8.0f}", flush=True)


if __name__ == "__main__":
    main()
