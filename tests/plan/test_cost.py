"""Arithmetic of hours, money and bytes."""

import pytest

from alchemist.core.settings.plan import CardSettings
from alchemist.plan import cost

CARD = CardSettings(tflops=100.0, utilisation=0.5, price_per_hour=3.0)


def test_hours_and_money_of_operations() -> None:
    assert cost.hours(50e12 * 3600, CARD) == pytest.approx(1)
    assert cost.money(50e12 * 3600 * 7, CARD) == pytest.approx(21)


PROXY = cost.Trained(parameters=1000, moved=100, frozen_bytes=2, activation_bytes=40, input_bytes=5)
RATER = cost.Trained(parameters=200, moved=200, frozen_bytes=4, activation_bytes=24, input_bytes=0)


@pytest.mark.parametrize(
    ("precision", "average", "expected"),
    [("fp32", True, 100 * 20 + 900 * 2 + 3 * 40), ("fp32", False, 100 * 16 + 900 * 2 + 3 * 40),
     ("bf16", True, 100 * 22 + 900 * 2 + 3 * 20), ("auto", True, 100 * 22 + 900 * 2 + 3 * 20)],
)  # fmt: skip
def test_memory_of_training(precision: str, average: bool, expected: float) -> None:
    """Under bf16 a float32 weight has a copy; a batch's inputs are there whatever the chunk."""
    assert cost.training(PROXY, 3, None, precision, average).bytes == expected + 3 * 5
    assert cost.training(PROXY, 24, 3, precision, average).bytes == expected + 24 * 5
    assert cost.training(PROXY, 3, 8, precision, average).bytes == expected + 3 * 5


def test_frozen_weights_in_float32_are_copied_too() -> None:
    wide = cost.Trained(1000, 100, 4, 0, 0)
    assert wide.held("bf16", False) == 100 * 16 + 900 * 4 + 1000 * 2
    assert wide.held("fp32", False) == 100 * 16 + 900 * 4


def test_memory_of_rating_is_that_of_the_network_that_passes() -> None:
    fixed = 100 * 16 + 900 * 2 + 200 * 16 + 2 * 8 * 5
    for chunk, activations in (
        (None, 16 * 40 + 8 * 24),  # the proxy on both batches, and the rater's graph waits
        (16, 16 * 40 + 8 * 24), (12, 12 * 40 + 8 * 24), (8, 8 * 40 + 8 * 24),
        (7, 7 * 40), (1, 40),
    ):  # fmt: skip
        assert cost.rating(PROXY, RATER, 0, 0, 8, chunk, "fp32").bytes == fixed + activations
    exact = cost.rating(PROXY, RATER, 28, 100, 8, 3, "fp32")
    assert exact.bytes == fixed + 28 * 100 + 3 * 100
    assert exact.most(fixed + 28 * 100 + 599) == 5


def test_the_most_that_fits_fits_and_one_more_does_not() -> None:
    peak = cost.training(PROXY, 64, None, "fp32", True)
    for memory in (4600.0, 5000.0, 5117.0):
        most = peak.most(memory)
        assert 0 < most < 64
        assert cost.training(PROXY, 64, most, "fp32", True).bytes <= memory
        assert cost.training(PROXY, 64, most + 1, "fp32", True).bytes > memory
    assert peak.most(1000.0) == 0
    assert peak.most(1e9) == 64


def test_bytes_of_encoded_pairs() -> None:
    assert cost.encoded_bytes(10, 100, 5, 3, 2) == 10 * (100 + 2 * 15 + 2 * 2)
