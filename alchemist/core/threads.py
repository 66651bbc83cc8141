"""How many threads torch computes with: found by measuring, while the work goes on.

Two threads are faster than one on a quiet machine, and slower beside another busy process. Results do not
depend on the count, so it may change between two steps.
"""

import os
import time
from collections.abc import Callable

import torch

# Of one measurement: this many seconds and ticks at least; after the most of seconds one tick is enough.
LEAST_SECONDS, LEAST_TICKS, MOST_SECONDS = 0.3, 5, 1.5
HOLD = 12  # seconds between rounds, for each second spent at counts that were only tried
BETTER, FALL = 1.05, 0.8
MOST = torch.get_num_threads()  # of this process, before any steering


class Steering:
    """Chooses among thread counts by the images/s that each reaches. Pure: it is told of images and time.

    It holds one count. Now and then, the longer apart the more the last round cost, a round tries its
    neighbours and then itself again, and the best is held from there. A round starts at once where the rate
    falls by a fifth, because something else may have begun to compute.
    """

    def __init__(self, most: int) -> None:
        self.counts = sorted({*(2**i for i in range(most.bit_length())), most})
        self.count = self.held = most
        self._round = [*self._beside(), most]  # still to be measured
        self._found: dict[int, float] = {}  # images/s of the counts of this round
        self._tried = 0.0  # seconds of this round at other counts than the held one
        self._next, self._reached = 0.0, 0.0  # when the next round is due; images/s since the last one
        self._last: float | None = None
        self._rates: list[float] = []

    def tick(self, images: int, now: float) -> int:
        """Hears that `images` more are done at `now` (s); gives the count for what comes next."""
        if self._last is None:  # nothing is known of when these images were begun
            self._start = self._last = now
            return self.count
        self._rates.append(images / max(now - self._last, 1e-9))
        self._last, spent = now, now - self._start
        if (spent >= LEAST_SECONDS and len(self._rates) >= LEAST_TICKS) or spent >= MOST_SECONDS:
            # A median, because a checkpoint between two ticks is no slow step.
            self._measured(sorted(self._rates)[len(self._rates) // 2], spent, now)
            self._start, self._rates = now, []
        return self.count

    def _beside(self) -> list[int]:
        """The next smaller and the next larger count."""
        here = self.counts.index(self.held)
        return self.counts[max(here - 1, 0) : here] + self.counts[here + 1 : here + 2]

    def _measured(self, rate: float, spent: float, now: float) -> None:
        if self.count in self._round:
            self._found[self.count] = rate
            self._tried += spent if self.count != self.held else 0.0
            self._round.remove(self.count)
            if not self._round:
                self._decide(now)
        elif rate < FALL * self._reached or now >= self._next:
            self._round = [*self._beside(), self.held]
            self._found, self._tried = {}, 0.0
        else:
            self._reached = max(rate, self._reached)
        self.count = self._round[0] if self._round else self.held

    def _decide(self, now: float) -> None:
        best = max(self._found, key=lambda count: self._found[count])
        if self._found[best] > BETTER * self._found[self.held]:
            self.held = best
        self._reached, self._next = self._found[self.held], now + HOLD * self._tried
        if unknown := [count for count in self._beside() if count not in self._found]:
            self._round = unknown  # it climbs on, beside what it has found


def steered(device: torch.device) -> Callable[[int], None]:
    """A function to tell of images done, which sets torch's thread count between two of them.

    It leaves the count alone where a person has set OMP_NUM_THREADS, with one thread, and off the CPU.
    """
    if device.type != "cpu" or MOST == 1 or "OMP_NUM_THREADS" in os.environ:
        return lambda images: None
    steering = Steering(MOST)

    def tick(images: int) -> None:
        count = steering.tick(images, time.perf_counter())
        if count != torch.get_num_threads():
            torch.set_num_threads(count)

    return tick


def steering(update: Callable[[int], object], device: torch.device) -> Callable[[int], None]:
    """A progress bar's update that steers the threads too."""
    steer = steered(device)

    def tick(images: int) -> None:
        steer(images)
        update(images)

    return tick
