"""Hashes of many ids are those of pandas, which makes an object of each: at all lengths, in all chunks."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from alchemist.core import siphash


def by_pandas(ids: list[str]) -> np.ndarray:
    return pd.util.hash_array(np.array(ids, dtype=object), categorize=False)


def words(count: int, seed: int = 0) -> list[str]:
    """Of 0 to 40 characters of one to three bytes, and some around the lengths at which a word begins."""
    rng = np.random.default_rng(seed)
    ids = [
        chr(c) * n for c, n in zip(rng.integers(33, 0xD7FF, count), rng.integers(0, 41, count), strict=True)
    ]
    return [*ids, "", "\0", "a\0", "é", *("x" * n for n in (7, 8, 9, 15, 16, 17, 255, 256, 257, 3000))]


def test_hashes_are_those_of_pandas_at_every_length() -> None:
    ids = words(3000)
    assert (siphash.hashes(ids) == by_pandas(ids)).all()


@pytest.mark.parametrize("block", [1, 7, 4096])
def test_blocks_change_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = words(200)
    monkeypatch.setattr(siphash, "_BLOCK", block)
    assert (siphash.hashes(ids) == by_pandas(ids)).all()


def test_a_column_is_read_where_it_lies_in_chunks_and_slices() -> None:
    ids = words(500)
    column = pd.Series(ids, dtype="str")
    chunked = pd.concat([column[:100], column[100:107], column[107:107], column[107:]])
    assert (siphash.hashes(chunked) == by_pandas(ids)).all()
    assert (siphash.hashes(chunked.iloc[50:450]) == by_pandas(ids[50:450])).all()
    assert (siphash.hashes(column.iloc[3:][::2]) == by_pandas(ids[3::2])).all()
    small = pa.chunked_array([pa.array(ids[:10], pa.string()), pa.array(ids[10:], pa.string()).slice(5)])
    small_offsets = pd.Series(small.to_pandas(types_mapper=pd.ArrowDtype))
    assert (siphash.hashes(small_offsets) == by_pandas(ids[:10] + ids[15:])).all()


def test_no_ids_have_no_hashes() -> None:
    assert siphash.hashes([]).shape == siphash.hashes(pd.Series([], dtype="str")).shape == (0,)
