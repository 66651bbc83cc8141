"""Arithmetic of hours, money and bytes."""

import pytest

from alchemist.core.settings.plan import CardSettings
from alchemist.plan import cost

CARD = CardSettings(tflops=100.0, utilisation=0.5, price_per_hour=3.0)


def test_hours_and_money_of_operations() -> None:
    assert cost.hours(50e12 * 3600, CARD) == pytest.approx(1)
    assert cost.money(50e12 * 3600 * 7, CARD) == pytest.approx(21)


@pytest.mark.parametrize(
    ("precision", "average", "expected"),
    [("fp32", True, 100 * 20 + 900 * 2 + 3 * 40), ("fp32", False, 100 * 16 + 900 * 2 + 3 * 40),
     ("bf16", True, 100 * 20 + 900 * 2 + 3 * 20), ("auto", True, 100 * 20 + 900 * 2 + 3 * 20)],
)  # fmt: skip
def test_memory_of_training(precision: str, average: bool, expected: float) -> None:
    network = cost.Trained(parameters=1000, moved=100, frozen_bytes=2, activation_bytes=40)
    assert cost.training_bytes(network, 3, precision, average) == expected


def test_bytes_of_encoded_pairs() -> None:
    assert cost.encoded_bytes(10, 100, 5, 3, 2) == 10 * (100 + 2 * 15 + 2 * 2)
