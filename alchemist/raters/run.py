"""What a rater of stage rate is given."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from alchemist.raters.network import Rater
from alchemist.raters.proxy import Plain


@dataclass(frozen=True)
class Run(Plain):
    """One rating of the pool, by one block of `raters:` and one seed."""

    ids: list[str]  # of the rated pairs, in the order of the ratings
    network: Callable[[int], Rater]  # a fresh rater of any seed, on its device
    device: torch.device
    elapsed: Callable[[], float]  # seconds, the device's work done
    assets: Path  # folder of raters that were trained elsewhere
    drafts: Path  # folder of what is kept beside the ratings
