"""Numbers that are no numbers any more are told with whose they are."""

import numpy as np
import pytest

from alchemist.core import finite
from alchemist.core.refusal import Refusal

IDS = [f"p{i}" for i in range(12)]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_is_told_with_its_value_and_many_with_five_ids(bad: float) -> None:
    values = np.arange(12.0)
    finite.check("rating", values, IDS, "try")
    values[3] = bad
    one = r"^the rating of 1 of 12 pairs is not finite: 'p3' \(-?\.(nan|inf)\); try\.$"
    with pytest.raises(Refusal, match=one):
        finite.check("rating", values, IDS, "try")
    values[5:] = bad
    named = r"'p3', 'p5', 'p6', 'p7', 'p8' and 3 more"
    with pytest.raises(Refusal, match=rf"^the rating of 8 of 12 pairs is not finite: {named}; try\.$"):
        finite.check("rating", values, IDS, "try")


def test_a_row_of_features_is_one_pairs() -> None:
    values = np.ones((12, 4, 3), dtype=np.float16)
    values[7, 1, 2] = np.inf
    assert finite.finite(values).tolist() == [i != 7 for i in range(12)]
    with pytest.raises(Refusal, match=r"of 1 of 12 pairs is not finite: 'p7'; try\."):
        finite.check("features", values, IDS, "try")
    finite.check("features", np.empty((0, 4)), [], "try")


def test_an_id_is_shown_on_one_line_and_short() -> None:
    assert finite.some(["a\u202e\n", "b" * 500]).isprintable()
    assert len(finite.some(["b" * 500] * 9)) < 400
