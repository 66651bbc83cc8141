"""The order in which kept pairs come: a permutation an epoch, as a function of (seed, position).

Rows of the index that are neighbours lie beside one another on the disk. So the pool is cut into blocks of
neighbours; blocks are shuffled, and the rows of some blocks that follow one another in that order are mixed.
"""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alchemist.core import stateless


@dataclass(frozen=True)
class Order:
    """An endless order of `count` rows, each once an epoch.

    Reading is local: positions that follow one another are of `mixed` stretches of `block` rows each,
    whatever the pool's size. What is held of an epoch is 8 bytes a block.
    """

    count: int
    seed: int
    block: int  # rows
    mixed: int  # blocks

    def window(self, position: int) -> tuple[int, NDArray[np.int64]]:
        """The first position of the mixed rows that the one at `position` is among, and their rows (n,).

        n is block x mixed, or fewer where the epoch ends or the pool's last block is short.
        """
        epoch, within = divmod(position, self.count)
        blocks, borders = _windows(self, epoch)
        number = int(np.searchsorted(borders, within, side="right")) - 1
        chosen = blocks[number * self.mixed : (number + 1) * self.mixed]
        rows = (chosen[:, None] * self.block + np.arange(self.block)).ravel()
        mixing = stateless.generator("kept pairs", self.seed, epoch, number)
        return epoch * self.count + int(borders[number]), mixing.permutation(rows[rows < self.count])


@functools.lru_cache(maxsize=2)
def _windows(order: Order, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The shuffled blocks of an epoch, and where in it each window begins and the last one ends."""
    count = -(-order.count // order.block)
    blocks = stateless.generator("kept blocks", order.seed, epoch).permutation(count)
    # One of them may be short, so the rows before a window are counted.
    ends = np.cumsum(np.minimum(order.block, order.count - blocks * order.block))
    return blocks, np.concatenate([[0], ends[order.mixed - 1 : -1 : order.mixed], ends[-1:]])
