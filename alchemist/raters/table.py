"""Every kind of rater by its name. A new one is a file in `kinds/` and a line here.

`rate` of a kind is given, and gives, what its list of `grid:` says, which its class names by its base:
raters      `SeededRater`     (alchemist.raters.run.Run, settings) -> alchemist.raters.proxy.Found
embeddings  `EmbeddingRater`  (alchemist.raters.embedding.Embedding, settings) -> measure (N,)
heuristics  `HeuristicRater`  image (H, W, 3) uint8, of 256 px at most -> its measure
oracles     `OracleRater`     planted kinds (N,) -> ratings (N,)
"""

from collections.abc import Callable
from typing import Any, Protocol

from alchemist.core.refusal import Refusal
from alchemist.raters.kinds import (
    aesthetic,
    caption_band,
    caption_gain,
    clarity,
    clip_score,
    colourfulness,
    edge_density,
    el2n,
    frequency,
    loss,
    meta,
    oracle,
    random,
    reference_loss,
    semdedup,
)
from alchemist.settings import legal, parse
from alchemist.settings.rater import RaterSettings


class Kind(Protocol):
    """What the file of a kind holds."""

    BLOCK: type[Any]  # of the blocks of `raters:`, a kind of RaterSettings
    rate: Callable[..., Any]


KINDS: dict[str, Kind] = {
    "meta": meta,
    "loss": loss,
    "el2n": el2n,
    "reference_loss": reference_loss,
    "caption_gain": caption_gain,
    "caption_band": caption_band,
    "random": random,
    "clip_score": clip_score,
    "semdedup": semdedup,
    "aesthetic": aesthetic,
    "colourfulness": colourfulness,
    "clarity": clarity,
    "frequency": frequency,
    "edge_density": edge_density,
    "oracle": oracle,
}
# Which list of `grid:` names a rater, and with it the stage that writes its table.
LISTS: dict[str, str] = {name: kind.BLOCK.named_in for name, kind in KINDS.items()}


def rater_settings(value: Any, where: str) -> RaterSettings:
    """The block at `where`, by its kind. Raises Refusal for an unknown kind."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise Refusal(legal.wrong_value(f"{where}.kind", kind, KINDS))
    found: RaterSettings = parse(KINDS[kind].BLOCK, value, where)
    return found
