"""Every kind of rater by its name. A new one is a file in `kinds/` and a line here.

`rate` of a kind is given, and gives, what its list of `grid:` says, which its class names by its base:
raters      `SeededRater`     (alchemist.raters.run.Run, settings) -> alchemist.raters.proxy.Found
embeddings  `EmbeddingRater`  (alchemist.raters.embedding.Embedding, settings) -> a function of images
                              (n, R, R, 3) and captions that gives their ratings (n,); of a class with
                              `of_all` features (n, d), and `whole` of the kind rates all pairs by them:
                              (.npy file (N, d), rows (N, id and lent), settings) -> measure (N,)
heuristics  `HeuristicRater`  image (H, W, 3) uint8, of 256 px at most -> its measure
heuristics  `IndexRater`      rows of the index (N, `columns`, id and lent), settings -> ratings (N,)
oracles     `OracleRater`     planted kinds (N,) -> ratings (N,)
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol, cast

from alchemist.core.settings import legal, parse
from alchemist.core.settings.rater import RaterSettings

NAMES = (
    "meta",
    "loss",
    "loss_within",
    "el2n",
    "reference_loss",
    "caption_gain",
    "caption_band",
    "random",
    "clip_score",
    "semdedup",
    "cluster_balance",
    "aesthetic",
    "clarity",
    "frequency",
    "edge_density",
    "colourfulness",
    "copies",
    "caption_quota",
    "oracle",
)


class Kind(Protocol):
    """What the file of a kind holds."""

    BLOCK: type[Any]  # of the blocks of `raters:`, a kind of RaterSettings
    rate: Callable[..., Any]
    whole: Callable[..., Any]  # of a class with `of_all`


KINDS: dict[str, Kind] = {name: cast(Kind, import_module(f"alchemist.raters.kinds.{name}")) for name in NAMES}
# Which list of `grid:` names a rater, and with it the stage that writes its table.
LISTS: dict[str, str] = {name: kind.BLOCK.named_in for name, kind in KINDS.items()}


def rater_settings(value: Any, where: str) -> RaterSettings:
    """The block at `where`, by its kind. Raises Refusal for an unknown kind."""
    kind = legal.tag(value, where, "kind", KINDS)
    found: RaterSettings = parse(KINDS[kind].BLOCK, value, where)
    return found
