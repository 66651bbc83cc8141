"""Contestants that take turns, each in a process of its own: our allocator lines hold for a whole process."""

import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import given

BEFORE = given.sized(2, 0)  # rounds that do not count

# Makes what is timed: called once, in the contestant's own process, it returns the work of one turn.
Make = Callable[..., Callable[[], object]]


class Contestant:
    """A process that makes its work once and does it when told to. One thread of torch.

    `ours` has the settings of our stages (`alchemist.core.process`), the yardsticks those of torch.
    """

    def __init__(self, make: Make, *arguments: Any, ours: bool) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pipe, other = spawn.Pipe()
        before = os.environ.get("OMP_NUM_THREADS")
        os.environ["OMP_NUM_THREADS"] = "1"  # what the child inherits
        self.process = spawn.Process(target=_serve, args=(other, make, arguments, ours), daemon=True)
        self.process.start()
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
        other.close()

    def turn(self) -> float:
        """Does the work once; gives its seconds. The first call waits for what has to be made."""
        self.pipe.send(True)
        taken: float = self.pipe.recv()
        return taken

    def close(self) -> None:
        """Ends the process."""
        self.pipe.close()
        self.process.join()


def _serve(pipe: Any, make: Make, arguments: tuple[Any, ...], ours: bool) -> None:
    if ours:
        from alchemist.core import process

        process.prepare()
    work = make(*arguments)
    while True:
        try:
            pipe.recv()
        except EOFError:
            return
        started = time.perf_counter()
        work()
        pipe.send(time.perf_counter() - started)


def medians(contestants: dict[str, Contestant], repeats: int) -> dict[str, float]:
    """Median seconds of a turn of each; they take turns, and the first rounds do not count."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    try:
        for number in range(BEFORE + repeats):
            for name, contestant in contestants.items():
                seconds = contestant.turn()
                if number >= BEFORE:
                    taken[name].append(seconds)
    finally:
        for contestant in contestants.values():
            contestant.close()
    return {name: float(np.median(each)) for name, each in taken.items()}
