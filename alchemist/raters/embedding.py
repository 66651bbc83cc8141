"""What a rater of stage embedding is given, and what it measures by."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from alchemist.core import finite, stateless
from alchemist.core.settings.evaluation import EvaluateSettings
from alchemist.measures import clip_score
from alchemist.pools import store

CAPTIONS = 4096  # whose embeddings are held for the next pairs

Floats = NDArray[np.floating]


@dataclass
class Embedding:
    """One measure of the pool by fixed networks, of one block of `raters:`."""

    name: str  # of the block
    pool: Path  # folder that stage prepare wrote
    rows: pd.DataFrame  # its usable pairs
    scorer: Path  # folder that stage scorer wrote
    evaluate: EvaluateSettings
    device: torch.device
    drafts: Path  # folder for what is needed on the way
    tick: Callable[[int], object]  # hears of pairs measured
    elapsed: Callable[[], float]  # seconds, the device's work done
    counter: FlopCounterMode = field(default_factory=lambda: FlopCounterMode(display=False))
    seconds: float = 0.0  # that the pool took

    def measured(
        self, trial: Callable[[NDArray[np.uint8], list[str]], object], whole: Callable[[], Floats]
    ) -> Floats:
        """What `whole` gives, clocked. `trial` of one batch before it counts the products, and warms up."""
        first = self.rows.iloc[stateless.id_order(self.rows["id"])[: self.evaluate.batch]]
        images, captions = store.images(self.pool, first), list(first["caption"])
        with self.counter:
            trial(images, captions)
        begun = self.elapsed()
        found = whole()
        self.seconds = self.elapsed() - begun
        return found

    def flops(self) -> int:
        """Of the whole pool, by the products of the trial."""
        tried = min(self.evaluate.batch, len(self.rows))
        return round(self.counter.get_total_flops() / tried * len(self.rows))


def cosines(
    judge: clip_score.Scorer, pool: Path, rows: pd.DataFrame, batch: int, tick: Callable[[int], object]
) -> Floats:
    """Cosines (N,) of image and caption, streamed."""
    found = []
    for start in range(0, len(rows), batch):
        part = rows.iloc[start : start + batch]
        if len(judge.embedded) > CAPTIONS:
            judge.embedded.clear()  # else it would keep every caption of the pool
        scores = clip_score.score(judge, store.images(pool, part), list(part["caption"]), batch)
        finite.check("CLIP-Score", scores, part["id"].tolist(), "the scorer's weights may be broken")
        found.append(scores / judge.scale)
        tick(len(part))
    return np.concatenate(found)
