"""The bare loops read what our adapters read: same captions, same pixels."""

from pathlib import Path

import numpy as np
import pytest

from alchemist.pools import store
from alchemist.pools.read import ADAPTERS, roots, rows
from benchmarks import adapters


def test_every_adapter_has_a_bare_loop_beside_it() -> None:
    assert set(adapters.FORMATS) == set(ADAPTERS)


@pytest.mark.parametrize("name", adapters.FORMATS)
def test_a_bare_loop_reads_what_the_adapter_reads(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters, "IMAGES", 4)
    write, bare = adapters.FORMATS[name]
    source, pool = tmp_path / "source", tmp_path / "pool"
    source.mkdir(), pool.mkdir()
    write(source)
    settings = adapters.block(name, source)
    store.write_pool(pool, rows(settings, 1, name), adapters.RESOLUTION, 9, {}, roots=roots(settings, name))
    index = store.usable(store.read_index(pool), "pool")
    captions, pictures = zip(*bare(source), strict=True)
    assert len(captions) == 4
    assert list(index["caption"]) == list(captions)
    assert np.array_equal(store.images(pool, index), np.stack(pictures))
