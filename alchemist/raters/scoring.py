"""Ratings of a pool by a rater that was trained elsewhere, from images and captions as they lie."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from alchemist.core import devices, finite, stateless
from alchemist.core.refusal import Refusal
from alchemist.core.settings import parse
from alchemist.core.settings.text import TEXTS
from alchemist.models import text
from alchemist.models.batch import Chance, Text
from alchemist.models.encoded import batch_of
from alchemist.pools import store
from alchemist.pools.index import COLUMNS, is_rated, part
from alchemist.raters import score, shipped
from alchemist.raters.groups import of_captions
from alchemist.raters.kinds.meta import CARD

READ = [*COLUMNS, "caption", *store.PLACE[1:]]  # of the index


class Scoring:
    """A rater on its device with what it reads: call it with rows of an index."""

    def __init__(self, rater: Path, codec: Path, batch: int, device: torch.device) -> None:
        """Raises Refusal where codec or text encoder are not those that the rater was trained on."""
        self.batch, self.device = batch, device
        self.card, self.network, self.group, self.settings, self.codec = shipped.load(rater, codec, device)
        self.rule = shipped.rule(rater)
        settings = parse(TEXTS[self.card.text["kind"]], self.card.text, f"{rater / CARD}: text")
        self.text = text.load(settings, f"{rater / CARD}: text", device)
        if self.text.digest != self.card.text_sha256:
            raise Refusal(
                f"{rater} rates beside states of the text encoder {self.card.text_sha256[:12]}, and "
                f"{self.text.name} here is {self.text.digest[:12]}; the one that it was trained on is legal."
            )

    def __call__(self, pool: Path, rows: pd.DataFrame, tick: Callable[[int], object]) -> pd.DataFrame:
        """id, rating and lent of those of `rows` that are rated, with `READ`, in their order.

        `tick` hears of all rows. A pair's rating depends on no other: batch and shard change its last digits
        alone. Stage rate reads states of captions in bfloat16 where that is fast: its rating of the same pair
        differs by some thousandths of the ratings' spread.
        """
        rated = rows[is_rated(rows)]
        parts = [rated.iloc[at : at + self.batch] for at in range(0, len(rated), self.batch)]
        found: list[NDArray[np.float64]] = []
        for some, pixels in zip(parts, store.ahead(pool, parts), strict=True):
            found.append(self._ratings(some, pixels))
            tick(len(some))
        tick(len(rows) - len(rated))
        rating = np.concatenate(found) if found else np.empty(0)
        finite.check("rating", rating, rated["id"].array, "the rater's weights may be broken")
        return pd.DataFrame({"id": rated["id"].array, "rating": rating, "lent": rated["lent"].array})

    @torch.no_grad()
    def _ratings(self, rows: pd.DataFrame, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        captions = list(rows["caption"])
        # In bfloat16 a rating would depend on the shard that a pair lies in.
        states = list(self.text.states(captions, len(captions), precision="fp32"))
        pairs = batch_of(self.codec.encode(pixels), states).to(self.device)
        chance = Chance(score.SCORED, stateless.id_positions(rows["id"]))
        with devices.passes(self.device):
            features = self.network.features(pairs, chance)
            rated = score.ratings(self.network, features, self.group, self.settings, self._labels(pairs.text))
            return devices.host(rated.double())

    def _labels(self, words: Text) -> NDArray[np.int64] | None:
        """Groups of captions, by the rule of the pool that the rater was trained on."""
        asked = self.settings.groups
        return None if asked is None else of_captions(words, asked.by, self.rule)


def worker(
    rater: Path, codec: Path, pool: Path, rows: int, batch: int, device: str,
    tick: Callable[[int], object] = lambda pairs: None,
) -> Callable[[int, Path], pd.DataFrame]:  # fmt: skip
    """What makes shard `number` of a pool: ratings of the `rows` rows of its index from number * rows on."""
    scoring = Scoring(rater, codec, batch, devices.chosen(device))
    return lambda number, drafts: scoring(pool, part(pool, number * rows, rows, READ), tick)
