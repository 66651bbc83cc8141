"""Pools of every kind of bad pair, in every format: each pair has its outcome and spoils no other."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hostile import FORMATS, write
from pool_helpers import user_pool

from alchemist.pools.read import roots, rows
from alchemist.pools.store import images, read_index, usable, write_pool

GOOD = 12
COLUMNS = {"image": "image", "caption": "caption", "id": "id"}


def read(folder, pool, monkeypatch, threads):
    monkeypatch.setattr(os, "cpu_count", lambda: threads)
    folder.mkdir(parents=True)
    return write_pool(folder, rows(pool, 1, "mine"), 16, 8, {"pool": "mine"}, None, roots(pool, "mine"))


def files_below(root):
    return {path: path.lstat().st_mtime_ns for path in root.rglob("*")}


@pytest.mark.filterwarnings("ignore:Tag data larger than file", "ignore:Possibly corrupt EXIF")
@pytest.mark.parametrize("name", FORMATS)
def test_every_pair_has_its_outcome_and_spoils_no_other(tmp_path, monkeypatch, name):
    source, wanted = write(tmp_path / "in/pool", name, GOOD)
    pool = user_pool(tmp_path / "in/pool", source, **({"columns": COLUMNS} if source == "parquet" else {}))
    before = files_below(tmp_path)
    card = read(tmp_path / "out/8", pool, monkeypatch, 8)
    after = {path: at for path, at in files_below(tmp_path).items() if "out" not in path.parts}
    assert after == before
    assert not list(Path("/").glob("absolute-of-a-tar*"))
    index = read_index(tmp_path / "out/8")
    found = dict(zip(index["id"], index["reason"], strict=True))
    assert found == wanted
    assert len(index) == len(found) == card["pairs"]
    counts = sum((Counter(split) for split in card["counts"].values()), Counter())
    assert counts == Counter(reason or "ok" for reason in wanted.values())
    assert sum("good-" in name and not reason for name, reason in found.items()) == GOOD
    assert len(images(tmp_path / "out/8", usable(index, "pool"))) == card["ok"]
    read(tmp_path / "out/1", pool, monkeypatch, 1)
    assert (tmp_path / "out/1/index.parquet").read_bytes() == (tmp_path / "out/8/index.parquet").read_bytes()
