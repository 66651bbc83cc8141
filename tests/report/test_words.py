from alchemist.analysis.words import DASH
from alchemist.report.words import p_text


def test_a_p_value_is_never_told_as_zero() -> None:
    assert [p_text(p) for p in (0.0, 0.0004, 0.25, None)] == [
        "< 0.001",
        "< 0.001",
        "0.250",
        DASH,
    ]
