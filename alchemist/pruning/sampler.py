"""What a sampler is: its block of params.yaml with the law that keeps ids by it."""

from abc import ABC, abstractmethod
from typing import ClassVar

from alchemist.core.refusal import Refusal
from alchemist.core.settings.selection import SelectionSettings
from alchemist.pruning.rated import Mask, Rated


class Sampler(SelectionSettings, ABC):
    """A block `selections.NAME`; each sampler adds its own values, each with a default, unit and range."""

    title: ClassVar[str]  # on the page

    @abstractmethod
    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """Which ids of the pool are kept, (N,): exactly `count` = `kept_count(N, ratio)` of them, or
        at most that, and one at least, where `keeps_fewer()`.

        A function of the ids, their ratings and the pool's seed (which is this block's and the grid's).
        """

    def why(self, place: int, total: int, count: int, ratio: float, kept: bool) -> str:
        """Why an id was kept or not, in a few words: by its place among `total` ids, 0 for the best as
        `Rated.best_first` orders them, of which `count` = `kept_count(total, ratio)` were to be kept.
        """
        return f"{'kept' if kept else 'left out'} by the law {self.sampler}"


def leaves_room(name: str, percent: float | None, ratio: float, because: str) -> None:
    """Raises Refusal where the value `name`, a share skipped, and a kept ratio are more than all."""
    if percent is not None and percent + 100 * ratio > 100 + 1e-9:
        left = f"{100 - 100 * ratio:.6g}"  # without floating-point dust
        raise Refusal(
            f"{name} is {percent}; at retention {ratio} it should be at most {left}, because {because}."
        )
