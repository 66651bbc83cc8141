import pytest

from alchemist.analysis.words import DASH, MINUS, capital, number, percent, several, three_digits


@pytest.mark.parametrize(
    ("value", "digits", "sign", "wanted"),
    [
        (-1234.56, 1, False, f"{MINUS}1,234.6"),
        (0.04, 1, True, "0.0"),
        (-0.04, 1, True, "0.0"),
        (0.06, 1, True, "+0.1"),
        (float("nan"), 1, False, DASH),
        (None, 0, False, DASH),
    ],
)
def test_numbers(value: float | None, digits: int, sign: bool, wanted: str) -> None:
    assert number(value, digits, sign) == wanted


@pytest.mark.parametrize(
    ("value", "sign", "wanted"),
    [
        (-6.8836, True, f"{MINUS}6.88"),
        (12.63, True, "+12.6"),
        (0.0, True, "0"),
        (0.95, False, "0.95"),
        (38400, False, "38,400"),
    ],
)
def test_three_digits_count(value: float, sign: bool, wanted: str) -> None:
    assert three_digits(value, sign) == wanted


def test_shares_counts_and_sentences() -> None:
    assert (percent(0.2), percent(0.125)) == ("20 %", "12.5 %")
    assert (several(1, "seed"), several(3, "seed")) == ("1 seed", "3 seeds")
    assert capital("at 50 % of FID") == "At 50 % of FID"
