import json
import os
import pickle
import shutil
import tracemalloc

import numpy as np
import pytest
from kept_helpers import COUNT, FORMATS, found, make, many, select, selection

from alchemist.core.refusal import Refusal
from alchemist.kept.offsets import Kept, Offsets, write
from alchemist.pools.place import Cell, Span


@pytest.mark.parametrize("source", FORMATS)
def test_pairs_come_back_as_they_were_written(tmp_path, source):
    wanted = selection(tmp_path, source)
    read = Offsets(tmp_path / "kept")
    assert len(read) == len(wanted) == COUNT * 2 // 3
    assert read.has_cells == (source == "parquet")
    assert [read.pair(row) for row in range(len(read))] == wanted
    rows = np.array([5, 39, 0, 5, 21])
    assert list(read.pairs(rows)) == [wanted[row] for row in rows]
    assert list(read.pairs(np.array([], dtype=np.int64))) == []
    for row in (-1, len(read)):
        with pytest.raises(IndexError):
            read.pair(row)


def test_what_is_written_in_parts_is_what_was_given(tmp_path, monkeypatch):
    monkeypatch.setattr("alchemist.kept.offsets._PART", 7)
    files = [tmp_path / name for name in ("a", "b", "a", "c")]  # a file may come twice
    pairs = [
        Kept(f"id {i}", "é\ud800" * (i % 3), float(i), Span(files[i // 10], i << 33, i), i, 0xFFFFFFFF - i)
        for i in range(40)
    ]
    pairs[20:25] = [Kept(f"x{i}", "", -0.5, Cell(files[2], "pic ture", i), 9, i) for i in range(5)]
    pairs[25:30] = [Kept(f"y{i}", "", 0.1, Cell(files[2], "other", i), 9, i) for i in range(5)]
    select(tmp_path / "kept", pairs, {"mine": tmp_path})
    assert list(Offsets(tmp_path / "kept").pairs(np.arange(40))) == pairs


@pytest.mark.skipif(os.name != "posix" or os.uname().sysname != "Linux", reason="names of any bytes")
def test_files_with_odd_names(tmp_path):
    names = [b"a b", b"\xff\xfe", "größe %41".encode(), b"line\nbreak", b"..x", b"root/deep/er"]
    files = [tmp_path / os.fsdecode(name) for name in names]
    pairs = [Kept(str(i), "", 0.0, Span(file, 0, 1), 1, 0) for i, file in enumerate(files)]
    select(tmp_path / "kept", pairs, {"mine": tmp_path / os.fsdecode(b"\xfe"), "other": tmp_path})
    assert list(Offsets(tmp_path / "kept").pairs(np.arange(len(files)))) == pairs


def test_files_are_found_where_their_folders_lie_now(tmp_path):
    tops = {"inner": tmp_path / "in/ner", "outer": tmp_path / "in"}
    files = [tmp_path / "in/ner/a", tmp_path / "in/b", tmp_path / "in/nerve", tmp_path / "elsewhere"]
    pairs = [Kept(str(i), "", 0.0, Span(file, 0, 1), 1, 0) for i, file in enumerate(files)]
    select(tmp_path / "kept", pairs, tops)

    def places(root):
        return [str(pair.place.file) for pair in Offsets(tmp_path / "kept", root).pairs(np.arange(4))]

    assert places(None) == list(map(str, files))
    assert places({"inner": "/new"}) == ["/new/a", *map(str, files[1:])]
    assert places({"outer": "/o", "inner": "/i"}) == ["/i/a", "/o/b", "/o/nerve", str(files[3])]
    with pytest.raises(Refusal, match=r"root has the key 'innner'; the pools of .* are \['inner', 'outer'\]"):
        places({"innner": "/new"})
    with pytest.raises(Refusal, match=r"root is one folder, .* lie below 2: give a folder by the name"):
        places("/new")
    select(tmp_path / "kept", pairs, {"outer": tmp_path / "in"})
    assert places("/new") == ["/new/ner/a", "/new/b", "/new/nerve", str(files[3])]


def test_relative_folders_are_found_from_elsewhere(tmp_path, monkeypatch):
    make(tmp_path / "mine", "webdataset")
    monkeypatch.chdir(tmp_path)
    wanted = select(tmp_path / "kept", found("mine", "webdataset"), {"mine": "mine"})
    monkeypatch.chdir("/")
    assert Offsets(tmp_path / "kept").pair(3).place.file == tmp_path / wanted[3].place.file
    assert Offsets(tmp_path / "kept", "/new").pair(3).place.file == "/new" / wanted[3].place.file.relative_to(
        "mine"
    )


def test_a_selection_of_nothing_is_refused(tmp_path):
    with pytest.raises(Refusal, match="keeps no pair"):
        write(tmp_path, iter(()), {})


def test_a_damaged_or_foreign_folder_is_refused(tmp_path):
    selection(tmp_path, "webdataset")
    names = sorted(path.name for path in (tmp_path / "kept").iterdir())
    for name in names:
        for damage in ("flip", "cut", "lose"):
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            shutil.copytree(tmp_path / "kept", tmp_path / "copy")
            path = tmp_path / "copy" / name
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 1
            if damage == "lose":
                path.unlink()
            else:
                path.write_bytes(content if damage == "flip" else content[: len(content) // 2])
            with pytest.raises(Refusal, match=r"; export the selection again\.$") as told:
                Offsets(tmp_path / "copy")
            assert "\n" not in str(told.value)
    for folder in ("mine", "none"):
        with pytest.raises(Refusal, match=r"has no manifest\.json; export the selection again"):
            Offsets(tmp_path / folder)
    other = tmp_path / "other"
    other.mkdir()
    from alchemist.core import files

    files.write_manifest(other, kind="weights")
    with pytest.raises(Refusal, match="holds no offsets of kept pairs"):
        Offsets(other)
    (other / "manifest.json").write_text(json.dumps(["nothing"]))
    with pytest.raises(Refusal, match="is damaged"):
        Offsets(other)


def test_another_process_is_sent_a_name_and_no_rows(tmp_path):
    select(tmp_path / "kept", many(tmp_path, 5000), {"mine": tmp_path})
    read = Offsets(tmp_path / "kept", tmp_path / "moved")
    sent = pickle.dumps(read)
    assert len(sent) < 1000
    again = pickle.loads(sent)
    assert list(again.pairs(np.arange(100))) == list(read.pairs(np.arange(100)))
    assert again.pair(0).place.file == tmp_path / "moved/one.bin"


def peak(work):
    """Bytes, by the lower of two runs: tables of the interpreter's own may grow in one of them."""
    found = []
    for _ in range(2):
        tracemalloc.start()
        try:
            work()
            found.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return min(found)


def test_memory_is_flat_in_the_number_of_pairs(tmp_path, monkeypatch):
    monkeypatch.setattr("alchemist.kept.offsets._PART", 512)
    counts = (2_000, 20_000)

    def writing(count):
        (tmp_path / str(count)).mkdir()

        def pairs():  # each in a file of its own, as in a folder of images
            for i in range(count):
                yield Kept(f"id-{i}", "some words", 0.0, Span(tmp_path / f"{i}.png", 0, 1), 1, 0)

        return peak(lambda: write(tmp_path / str(count), pairs(), {"mine": tmp_path}))

    def reading(count):
        def work():
            read = Offsets(tmp_path / str(count))
            for first in range(0, count, 500):
                assert len(list(read.pairs(np.arange(first, first + 500)))) == 500

        return peak(work)

    for small, large in (map(writing, counts), map(reading, counts)):
        assert large < small + 100_000  # 18,000 references alone would take more
