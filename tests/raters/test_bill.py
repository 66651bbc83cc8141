"""The table of ratings that every stage that rates leaves."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from alchemist.core.refusal import Refusal
from alchemist.raters.bill import write_table


def test_a_rating_that_is_no_number_is_told_with_its_id_and_no_table_is_left(tmp_path: Path) -> None:
    out, ids, lent = tmp_path / "x.parquet", np.array(["b", "a", "c"]), np.zeros(3, dtype=bool)
    with pytest.raises(
        Refusal, match=r"^the rating of 1 of 3 pairs is not finite: 'a' \(\.inf\); another rater"
    ):
        write_table(out, ids, np.array([1.0, np.inf, 2.0]), lent)
    wrong: list[tuple[Any, str]] = [
        ([1.0, 2.0], "float64 of the shape (2,)"),
        (np.ones((3, 1)), "float64 of the shape (3, 1)"),
        (["1", "2", "3"], "<U1 of the shape (3,)"),
    ]
    for ratings, told in wrong:
        with pytest.raises(Refusal, match=re.escape(f"the ratings are {told}; a number for each of 3 pairs")):
            write_table(out, ids, ratings, lent)
    assert list(tmp_path.iterdir()) == []
    write_table(out, ids, np.full(3, 0.5), lent)  # of equal ones the draw decides later
    assert pd.read_parquet(out)["id"].tolist() == ["a", "b", "c"]
