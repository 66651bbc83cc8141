"""Thread counts are chosen by what they reach: on rates in closed form, without a clock."""

import os
from collections.abc import Callable

import pytest
import torch
from conftest import CPU

from alchemist.core import threads
from alchemist.core.threads import Steering

# images/s by the count, quiet and beside a busy process, as measured with `xs`; and of threads that stall
QUIET, BUSY, STALLED = {1: 460.0, 2: 763.0}, {1: 440.0, 2: 300.0}, {1: 440.0, 2: 5.0}


def reached(rates: Callable[[float], dict[int, float]], seconds: float, most: int = 2) -> float:
    """Images of a run in ticks of 16, as a share of those of a count that is always the best."""
    steering, now, images, best = Steering(most), 0.0, 0.0, 0.0
    while now < seconds:
        here = rates(now)
        taken = 16 / here[steering.count]
        now, images, best = now + taken, images + 16, best + taken * max(here.values())
        steering.tick(16, now)
    return images / best


@pytest.mark.parametrize(
    ("rates", "seconds"), [(QUIET, 20), (QUIET, 120), (BUSY, 20), (BUSY, 120), (STALLED, 120)]
)
def test_at_most_a_fifth_is_lost_against_the_best_count(rates: dict[int, float], seconds: float) -> None:
    assert reached(lambda now: rates, seconds) > 0.8


@pytest.mark.parametrize("period", [20.0, 60.0])
def test_a_busy_process_that_comes_and_goes_costs_little_more(period: float) -> None:
    assert reached(lambda now: BUSY if now % period > period / 2 else QUIET, 240) > 0.8


def test_a_fall_is_answered_within_two_seconds() -> None:
    steering, now, counts = Steering(2), 0.0, []
    while now < 40:
        now += 16 / (QUIET if now < 30 else BUSY)[steering.count]
        counts.append((now, steering.tick(16, now)))
    assert sum(count == 2 for when, count in counts if when < 30) > 0.9 * sum(when < 30 for when, _ in counts)
    assert all(count == 1 for when, count in counts if 32 < when < 34)


def test_among_many_counts_the_best_is_reached() -> None:
    rates = {1: 100.0, 2: 180.0, 4: 300.0, 6: 290.0}
    assert Steering(6).counts == [1, 2, 4, 6]
    assert reached(lambda now: rates, 200, most=6) > 0.8
    assert reached(lambda now: {1: 400.0, 2: 300.0, 4: 200.0, 6: 100.0}, 200, most=6) > 0.8


def test_a_pause_between_two_steps_changes_no_count() -> None:
    steering, now = Steering(2), 0.0
    for step in range(4000):
        pause = 20.0 if step % 500 == 499 else 0.0
        now += 16 / QUIET[steering.count] + pause
        steering.tick(16, now)
        assert steering.held == 2


def test_a_person_who_sets_the_count_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    monkeypatch.setattr(threads.time, "perf_counter", iter(range(1000)).__next__)
    monkeypatch.setattr(threads, "MOST", 2)
    try:
        torch.set_num_threads(2)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        free = threads.steered(CPU)
        seen = set()
        for _ in range(20):
            free(16)
            seen.add(torch.get_num_threads())
        assert seen == {1, 2}
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        held = threads.steered(CPU)
        for _ in range(20):
            held(16)
        assert torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
    finally:
        torch.set_num_threads(before)
