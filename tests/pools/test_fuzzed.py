"""What the fuzzer found and was mended: bytes at which a reader once ended, by the target of torture.fuzz."""

from pathlib import Path

import pytest
from pool_helpers import outcomes, user_pool

FILES = {"parquet": ("parquet", "a.parquet", {"columns": {"id": "id"}})}
FOUND = sorted((Path(__file__).parent / "fuzzed").iterdir())


@pytest.mark.parametrize("found", FOUND, ids=lambda path: path.name)
def test_bytes_that_once_ended_a_reader(tmp_path, found):
    source, name, changes = FILES[found.name.partition("-")[0]]
    (tmp_path / name).write_bytes(found.read_bytes())
    assert all(outcomes(user_pool(tmp_path, source, largest=20, **changes)).values())
