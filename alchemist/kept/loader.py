"""Kept pairs for a training loop, read from a person's own files: nothing is rewritten to begin.

pairs = KeptPairs("kept/alchemist-50", batch=64, seed=1, rank=rank, ranks=ranks, work=decode)
for batch in DataLoader(pairs, batch_size=64, num_workers=4):
    ...
"""

import functools
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from alchemist.core.refusal import Refusal
from alchemist.core.shown import shown
from alchemist.kept.offsets import Offsets
from alchemist.kept.order import Order
from alchemist.kept.reader import Reader

BLOCK, MIXED = 512, 16
Pair = dict[str, Any]
Part = tuple[NDArray[np.int64], NDArray[np.int64]]  # positions (n,) and their rows (n,)


class KeptPairs(IterableDataset[Any]):
    """Kept pairs in an endless shuffled order, which is a function of (seed, position) alone.

    Positions count pairs from 0 on, of all ranks together; an epoch is as many as there are pairs, each once.
    Batch b of a rank is the positions from (b x ranks + rank) x batch on, so steps of batch x ranks pairs are
    the same whatever the count of ranks. Of W workers of a DataLoader each has every W-th batch, so one with
    `batch_size=batch` gives the same batches for every W. Every pass begins at `start` again.

    folder: what `alchemist.kept.offsets.write` filled.
    batch: pairs of one batch of one rank.
    start: the position at which to begin: after n steps, n x batch x ranks. It goes on as an unbroken run.
    rank, ranks: which share of each step is given, and of how many.
    epochs: after how many to end, counted from position 0; None: never. The last step may be short, with
        fewer pairs for some ranks or none.
    block, mixed: rows of neighbours that are shuffled as one, and how many such blocks are mixed. Many small
        ones shuffle better where neighbours are alike; few large ones are faster on a disk that seeks.
    ahead: how many reads of `batch` pairs are made in advance, each on a thread of its own.
    root: where the files lie now, see `Offsets`.
    work: applied to each pair, {"position": int, "id": str, "caption": str, "rating": float, "image": bytes}
        with the encoded image; in the worker, if there are any.

    Memory of a worker is `ahead` + 1 batches of encoded images, however large the pool is. Where pairs lie in
    parquet files, whose row groups are decoded from their beginnings, it is its share of two windows of
    block x mixed pairs; and every worker of every rank decodes each row group that it needs a pair of: W
    workers of R ranks decode most of them W x R times. Few workers are better there, and small row groups.
    Raises Refusal where an argument makes no sense, the folder is damaged, or an image is not as it was.
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        batch: int,
        seed: int = 0,
        start: int = 0,
        rank: int = 0,
        ranks: int = 1,
        epochs: int | None = None,
        block: int = BLOCK,
        mixed: int = MIXED,
        ahead: int = 2,
        root: Path | Mapping[str, Path] | None = None,
        work: Callable[[Pair], Any] | None = None,
    ) -> None:
        least = {"batch": (batch, 1), "ranks": (ranks, 1), "block": (block, 1), "mixed": (mixed, 1)}
        least |= {"start": (start, 0), "rank": (rank, 0), "ahead": (ahead, 0)}
        least |= {} if epochs is None else {"epochs": (epochs, 1)}
        for name, (value, lowest) in least.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < lowest:
                raise Refusal(f"{name} is {shown(value)}; legal are whole numbers from {lowest} on.")
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise Refusal(f"seed is {shown(seed)}; legal are whole numbers.")
        if rank >= ranks:
            raise Refusal(f"rank is {rank}; legal are 0 to {ranks - 1}, since ranks is {ranks}.")
        if start % (batch * ranks):
            step, near = batch * ranks, start // (batch * ranks) * batch * ranks
            raise Refusal(f"start is {start}; legal are multiples of the {step} pairs of a step, as {near}.")
        self.batch, self.rank, self.ranks, self.start = batch, rank, ranks, start
        self.ahead, self.work = ahead, work
        self.offsets = Offsets(Path(folder), root)
        self.order = Order(len(self.offsets), seed, block, mixed)
        self.stop = None if epochs is None else epochs * len(self.offsets)

    def __iter__(self) -> Iterator[Any]:
        about = get_worker_info()
        worker, workers = (about.id, about.num_workers) if about else (0, 1)
        # Cells are read in order, and a window of them at a time, so that a row group is decoded once for it.
        threads = min(self.ahead, 1) if self.offsets.has_cells else self.ahead
        read = functools.partial(self._read, Reader())
        for pairs in _ahead(read, self._parts(worker, workers), threads):
            yield from map(self.work, pairs) if self.work else pairs

    def _parts(self, worker: int, workers: int) -> Iterator[Part]:
        """What a worker reads at a time, in order, to the end if there is one."""
        step, position = self.batch * self.ranks, self.start
        while self.stop is None or position < self.stop:
            begin, rows = self.order.window(position)
            here = np.arange(position, begin + len(rows))
            is_mine = (here // self.batch % self.ranks == self.rank) & (
                (here - self.start) // step % workers == worker  # a DataLoader begins with worker 0
            )
            mine = here[is_mine]
            size = len(here) if self.offsets.has_cells else self.batch
            for first in range(0, len(mine), size):
                part = mine[first : first + size]
                yield part, rows[part - begin]
            position = begin + len(rows)

    def _read(self, reader: Reader, positions: NDArray[np.int64], rows: NDArray[np.int64]) -> list[Pair]:
        """The pairs at some positions, in their order; read in that in which they lie."""
        pairs: list[Pair] = [{}] * len(rows)
        order = np.argsort(rows, kind="stable")
        at = positions[order].tolist()
        for number, place, kept in zip(order.tolist(), at, self.offsets.pairs(rows[order]), strict=True):
            pairs[number] = {
                "position": place,
                "id": kept.id,
                "caption": kept.caption,
                "rating": kept.rating,
                "image": reader.read(kept),
            }
        return pairs


def _ahead(read: Callable[..., list[Pair]], parts: Iterator[Part], threads: int) -> Iterator[list[Pair]]:
    """`read` of each part, in order; so many in advance as there are threads."""
    if not threads:
        yield from itertools.starmap(read, parts)
        return
    waiting: deque[Future[list[Pair]]] = deque()
    with ThreadPoolExecutor(threads) as executor:
        for part in parts:
            waiting.append(executor.submit(read, *part))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
