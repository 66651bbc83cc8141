"""What a rater of stage embedding measures by, and the pass of it over a pool."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import devices, finite
from alchemist.core.arrays import Growing
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.core.settings.rater import EmbeddingRater
from alchemist.measures import clip_score, vectors
from alchemist.pools import store
from alchemist.pools.index import COLUMNS, is_rated, part, some_rated
from alchemist.raters.table import KINDS

READ = [*COLUMNS, "caption", *store.PLACE[1:]]  # of the index
# A shard of a kind that rates all pairs by their features: those, float16 (d,) of length one, as bytes.
FEATURES = pa.schema([("id", pa.string()), ("features", pa.binary()), ("lent", pa.bool_())])

Floats = NDArray[np.floating]
Measure = Callable[[NDArray[np.uint8], list[str]], Floats]


@dataclass(frozen=True)
class Embedding:
    """What a kind makes its measure of."""

    name: str  # of the block of `raters:`
    scorer: Path  # folder that stage scorer wrote
    evaluate: EvaluateSettings
    asked: str  # device, by its name in params.yaml
    pairs: int  # that are rated

    @property
    def device(self) -> torch.device:
        """The device of this process."""
        return devices.chosen(self.asked)


def cosines(
    judge: clip_score.Scorer, images: NDArray[np.uint8], captions: list[str], batch: int
) -> NDArray[np.floating]:
    """Cosines (n,) of images (n, R, R, 3) and captions."""
    judge.embedded.clear()  # the last digits of a caption would depend on who came before, in another shard
    return np.asarray(clip_score.score(judge, images, captions, batch) / judge.scale)


def worker(
    run: Embedding, settings: EmbeddingRater, pool: Path, rows: int,
    tick: Callable[[int], object] = lambda pairs: None,
) -> Callable[[int, Path], pd.DataFrame]:  # fmt: skip
    """What makes shard `number` of a pool: ratings, or `FEATURES`, of the `rows` rows of its index from
    number * rows on."""
    measure, batch = KINDS[settings.kind].rate(run, settings), run.evaluate.batch

    def work(number: int, drafts: Path) -> pd.DataFrame:
        index = part(pool, number * rows, rows, READ)
        chosen = index[is_rated(index)]
        found: list[NDArray[np.floating]] = []
        parts = [chosen.iloc[at : at + batch] for at in range(0, len(chosen), batch)]
        for here, images in zip(parts, store.ahead(pool, parts), strict=True):
            measured = measure(images, list(here["caption"]))
            if measured.ndim == 2:
                found.append(vectors.short(measured, here["id"].tolist()))
            else:
                finite.check("rating", measured, here["id"].tolist(), vectors.ADVICE)
                found.append(settings.direction * measured)
            tick(len(here))
        tick(len(index) - len(chosen))
        values = np.concatenate(found) if found else np.empty(0)
        told = {"id": chosen["id"].array, "lent": chosen["lent"].array}
        if settings.of_all:
            return pd.DataFrame({**told, "features": [one.tobytes() for one in values]})
        return pd.DataFrame({**told, "rating": values.astype(np.float64)})

    return work


def flops(run: Embedding, settings: EmbeddingRater, pool: Path) -> int:
    """FLOPs of a measure of all pairs, by those of some: images have one size, and captions are padded."""
    some = some_rated(pool, run.evaluate.batch, READ)
    measure = KINDS[settings.kind].rate(run, settings)
    with FlopCounterMode(display=False) as counter:
        measure(store.images(pool, some), list(some["caption"]))
    return round(counter.get_total_flops() / len(some) * run.pairs)


def joined(tables: Iterable[Path], file: Path) -> pd.DataFrame:
    """Writes the features of all shards to an .npy file (N, d), one in memory at a time; gives id, lent."""
    told: list[pd.DataFrame] = []
    out: Growing | None = None
    for path in tables:
        table = pq.read_table(path, page_checksum_verification=True).to_pandas()
        told.append(table[["id", "lent"]])
        if len(table):
            rows = np.frombuffer(b"".join(table["features"]), np.float16).reshape(len(table), -1)
            out = out or Growing(file, np.float16, rows.shape[1:])
            out.append(rows)
    if out is not None:
        out.close()
    return pd.concat(told, ignore_index=True)
