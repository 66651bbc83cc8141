"""Images of a person's files, from prepare to the stages that read them: tests of store.py and read.py."""

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pool_helpers import encoded, members, picture, user_pool, write_pair, write_tar

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pools import folder as folder_format
from alchemist.pools.base import Found
from alchemist.pools.image import decode
from alchemist.pools.read import roots, rows
from alchemist.pools.store import PLACE, ahead, images, parts, read_index, usable, write_pool

COUNT = 40
FORMATS = ["folder", "webdataset", "parquet"]


def make(root, source, first=0):
    """Pairs of every format with the same pictures in the same order, in two files or more."""
    for start in (0, COUNT // 2):
        numbers = range(start, start + COUNT // 2)
        if source == "folder":
            for i in numbers:
                write_pair(root, f"größe 1%/{i:04d}", f"caption {i}", first + i)
        elif source == "webdataset":
            parts = members(first + start, COUNT // 2)
            parts = [(f"{int(n[:4]) - first:04d}{n[4:]}", content) for n, content in parts]
            write_tar(root / f"sub/{start:02d}.tar", parts)
        else:
            root.mkdir(exist_ok=True)
            table = {"image": [encoded(picture(first + i)) for i in numbers]}
            table["caption"] = [f"caption {i}" for i in numbers]
            pq.write_table(pa.table(table), root / f"{start:02d}.parquet", row_group_size=6)


def prepare(folder, pool):
    folder.mkdir()
    write_pool(folder, rows(pool, 1, "mine"), 16, 8, {}, None, roots(pool, "mine"))
    return usable(read_index(folder), "pool")


@pytest.mark.parametrize("source", FORMATS)
def test_images_stay_in_their_files_and_come_back_in_any_order(tmp_path, source):
    make(tmp_path / "mine", source)
    index = prepare(tmp_path / "pool", user_pool(tmp_path / "mine", source))
    assert {path.name for path in (tmp_path / "pool").iterdir()} == {
        "index.parquet", "card.json", "manifest.json", "truth.parquet",
    }  # fmt: skip
    assert len(index) == COUNT
    assert not index["file"].str.startswith("/").any()
    assert index["file"].map(str.isascii).all()
    wanted = np.stack([decode(encoded(picture(i)), 16)[0] for i in range(COUNT)])
    for asked in (
        np.arange(COUNT), np.arange(COUNT)[::-1], np.arange(0, COUNT, 7), np.array([21, 3, 3, 39, 20, 3]),
        np.array([], dtype=int),
    ):  # fmt: skip
        found = images(tmp_path / "pool", index.iloc[asked])
        assert found.dtype == np.uint8
        assert (found == wanted[asked]).all()


@pytest.mark.parametrize("source", FORMATS)
def test_moved_files_make_the_same_index(tmp_path, monkeypatch, source):
    make(tmp_path / "mine", source)
    monkeypatch.chdir(tmp_path)
    index = prepare(tmp_path / "pool", user_pool("mine", source))
    before = images(tmp_path / "pool", index)
    shutil.move(tmp_path / "mine", tmp_path / "elsewhere")
    with pytest.raises(Refusal, match=r"mine/.* is missing; the stage prepare .* dvc repro --force prepare"):
        images(tmp_path / "pool", index)
    again = prepare(tmp_path / "again", user_pool(tmp_path / "elsewhere", source))
    assert again.equals(index)
    assert (images(tmp_path / "again", again) == before).all()


@pytest.mark.parametrize("source", FORMATS)
def test_files_with_other_images_are_refused_and_make_another_index(tmp_path, source):
    make(tmp_path / "mine", source)
    pool = user_pool(tmp_path / "mine", source)
    index = prepare(tmp_path / "pool", pool)
    make(tmp_path / "mine", source, first=1)
    with pytest.raises(Refusal, match=r"mine/.* holds another image|ends before byte") as told:
        images(tmp_path / "pool", index)
    assert "\n" not in str(told.value)
    files.check_manifest(tmp_path / "pool")  # finds nothing: the pool's own files are as they were
    again = prepare(tmp_path / "again", pool)
    assert (again["pixels"] != index["pixels"]).all()
    assert again["id"].equals(index["id"])


def test_one_file_is_a_pool_too(tmp_path, monkeypatch):
    write_tar(tmp_path / "a.tar", members(0, 3))
    monkeypatch.chdir(tmp_path)
    index = prepare(tmp_path / "pool", user_pool("a.tar", "webdataset"))
    assert set(index["file"]) == {"a.tar"}
    assert files.read_json(tmp_path / "pool/card.json")["roots"] == {"mine": "."}
    assert images(tmp_path / "pool", index).shape == (3, 16, 16, 3)


def test_equal_pixels_in_other_files_have_one_hash(tmp_path):
    image = picture(0)
    for name, kind, caption in (("a.png", "PNG", "one"), ("b.bmp", "BMP", "two")):
        (tmp_path / "mine").mkdir(exist_ok=True)
        (tmp_path / "mine" / name).write_bytes(encoded(image, kind))
        (tmp_path / "mine" / name).with_suffix(".txt").write_text(caption)
    index = prepare(tmp_path / "pool", user_pool(tmp_path / "mine"))
    assert index["pixels"].nunique() == 1
    assert index["crc"].nunique() == 2


def test_files_outside_the_path_keep_their_whole_path(tmp_path, monkeypatch):
    write_pair(tmp_path / "elsewhere", "a", "words", 0)
    write_pair(tmp_path / "mine", "b", "words", 1)
    found = [Found("x", "words", folder_format.Span(tmp_path / "elsewhere/a.png"))]
    monkeypatch.setattr(folder_format, "read", lambda _: iter(found))
    index = prepare(tmp_path / "pool", user_pool(tmp_path / "mine"))
    assert list(index["file"]) == [str(tmp_path / "elsewhere/a.png")]
    assert (images(tmp_path / "pool", index)[0] == decode(encoded(picture(0)), 16)[0]).all()


def test_bytes_without_a_place_are_kept_encoded(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.setattr("alchemist.pools.shards.SHARD_BYTES", 3000)
    contents = [encoded(picture(i)) for i in range(9)]
    found = [Found(f"x{i}", "words", content) for i, content in enumerate(contents)]
    monkeypatch.setattr(folder_format, "read", lambda _: iter(found))
    index = prepare(tmp_path / "pool", user_pool(tmp_path / "mine"))
    shards = sorted((tmp_path / "pool").glob("bytes-*.bin"))
    assert len(shards) > 2
    assert b"".join(path.read_bytes() for path in shards) == b"".join(contents)
    assert {path.name for path in shards} < set(files.check_manifest(tmp_path / "pool")["files"])
    found_images = images(tmp_path / "pool", index[::-1])
    assert all((a == decode(b, 16)[0]).all() for a, b in zip(found_images, contents[::-1], strict=True))


@pytest.mark.parametrize("size", [1, 7, 16, 1000])
def test_batches_are_the_usable_pairs_of_some_splits_in_order(tmp_path, size):
    make(tmp_path / "mine", "webdataset")
    write_tar(tmp_path / "mine/sub/10.tar", [("x.png", b"broken"), ("x.txt", b"words"), *members(0, 2)])
    splits = {"meta_validation": 0.3, "evaluation": 0.2, "scorer": 0.2}
    prepare(tmp_path / "pool", user_pool(tmp_path / "mine", "webdataset", splits=splits))
    index = read_index(tmp_path / "pool")
    wanted = index[(index["status"] == "ok") & index["split"].isin(["pool", "evaluation"])]
    assert 7 < len(wanted) < COUNT
    found = list(ahead(tmp_path / "pool", parts(tmp_path / "pool", ("pool", "evaluation"), size, PLACE)))
    assert [len(part) for part in found[:-1]] == [size] * (len(found) - 1)
    assert (np.concatenate(found) == images(tmp_path / "pool", wanted)).all()


def test_batches_of_no_pair_are_none_and_a_changed_file_ends_them(tmp_path):
    make(tmp_path / "mine", "webdataset")
    prepare(tmp_path / "pool", user_pool(tmp_path / "mine", "webdataset"))
    assert list(ahead(tmp_path / "pool", parts(tmp_path / "pool", ("scorer",), 8, PLACE))) == []
    (tmp_path / "mine/sub/20.tar").write_bytes(b"")
    found = ahead(tmp_path / "pool", parts(tmp_path / "pool", ("pool",), 8, PLACE))
    assert [len(next(found)), len(next(found))] == [8, 8]
    with pytest.raises(Refusal, match=r"20\.tar ends before byte"):
        list(found)
