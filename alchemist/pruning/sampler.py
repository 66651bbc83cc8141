"""What a sampler is: its block of params.yaml with the law that keeps ids by it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from alchemist.pruning.rated import Mask, Rated
from alchemist.settings.selection import SelectionSettings


class Sampler(SelectionSettings, ABC):
    """A block `selections.NAME`; each sampler adds its own values, each with a default, unit and range."""

    title: ClassVar[str]  # on the page

    @abstractmethod
    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """Which ids of the pool are kept, (N,): exactly `count` = `kept_count(N, ratio)` of them.

        A function of the ids, their ratings and the pool's seed (which is this block's and the grid's).
        """


def left(ratio: float) -> str:
    """What a ratio leaves, in percent, without floating-point dust."""
    return f"{100 - 100 * ratio:.6g}"


def passes(percent: float, ratio: float) -> bool:
    """Whether a share thrown away or skipped and a kept ratio are more than all."""
    return percent + 100 * ratio > 100 + 1e-9
