"""Tables come back as they were written, or not at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from alchemist.core import tables
from alchemist.core.refusal import Refusal

COLUMNS = ["id", "rating", "lent"]


def test_no_flipped_bit_changes_a_value_without_a_word(tmp_path: Path) -> None:
    """Any byte: pages have checksums, and the footer, which has none, loses neither row nor name."""
    path = tmp_path / "0.parquet"
    table = pd.DataFrame({"id": ["a", "b", "ä"], "rating": [0.5, -1.0, 1e-9], "lent": [True, False, False]})
    tables.write(path, table)
    assert tables.read(path, COLUMNS).equals(table)
    assert list(tables.read(path, ["rating"])) == ["rating"]
    whole, told = path.read_bytes(), 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            found = tables.read(path, COLUMNS)
        except Refusal:
            told += 1
        else:
            assert found.equals(table), at
    assert told > len(whole) / 3
    path.write_bytes(whole[:-20])
    with pytest.raises(Refusal, match=r"0\.parquet is damaged: its bytes are not those that were written"):
        tables.read(path, COLUMNS)
    with pytest.raises(FileNotFoundError):
        tables.read(tmp_path / "1.parquet", COLUMNS)


def test_no_row_group_is_larger_than_is_read_at_once(tmp_path: Path) -> None:
    """A table of ratings or ids of thirty million pairs would else be one, or thirty of a million."""
    path, count = tmp_path / "0.parquet", 2 * tables.GROUP + 1
    table = pd.DataFrame({"id": [f"{i:09d}" for i in range(count)], "rating": np.arange(count) / 7})
    tables.write(path, table)
    footer = pq.read_metadata(path)
    sizes = [footer.row_group(number).num_rows for number in range(footer.num_row_groups)]
    assert sizes == [tables.GROUP, tables.GROUP, 1]
    assert tables.read(path, ["id", "rating"]).equals(table)
