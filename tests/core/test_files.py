"""Files appear whole or not at all; manifests tell damage, and unchanged files are read once."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alchemist.core import files
from alchemist.core.refusal import Refusal


class FailedError(Exception):
    pass


# --- whole files ---


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    with files.whole(path) as draft:
        draft.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def write() -> None:
        with files.whole(path) as draft:
            draft.write_text("half")
            raise FailedError

    with pytest.raises(FailedError):
        write()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    folder = tmp_path / "folder"

    def write(name: str, fail: bool) -> None:
        with files.whole_folder(folder) as draft:
            (draft / name).write_text(name)
            if fail:
                raise FailedError

    write("first", False)
    with pytest.raises(FailedError):
        write("second", True)
    assert [p.name for p in folder.iterdir()] == ["first"]
    write("third", False)
    assert [p.name for p in folder.iterdir()] == ["third"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("draft", [files.whole, files.whole_folder])
def test_two_processes_do_not_write_one_file(tmp_path: Path, draft: Callable[..., Any]) -> None:
    """An orphan of a killed run and its rerun would else destroy each other's draft."""
    path = tmp_path / "out"
    refused = pytest.raises(
        Refusal, match="out is being written by another process, perhaps one that a killed"
    )
    with draft(path) as mine:
        with refused, draft(path):
            raise AssertionError
        assert mine.exists()
        if draft is files.whole:
            mine.write_text("whole")
    with draft(path):  # the lock is gone with its holder
        pass


def test_a_worker_that_outlives_its_parent_holds_no_lock(tmp_path: Path) -> None:
    """As those of a pool of processes do when the stage alone is killed."""
    read, write = os.pipe()
    with files.whole_folder(tmp_path / "out"), files.whole(tmp_path / "file"):
        worker = os.fork()
        if not worker:
            os.read(read, 1)  # until the test is over
            os._exit(0)
    try:
        for draft in (files.whole_folder(tmp_path / "out"), files.whole(tmp_path / "file")):  # no Refusal
            with draft:
                pass
    finally:
        os.write(write, b".")
        os.waitpid(worker, 0)


def test_what_a_killed_process_left_is_no_part_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".folder.part" / "inner").mkdir(parents=True)
    (tmp_path / ".folder.part" / "left").write_text("half")
    with files.whole_folder(tmp_path / "folder") as draft:
        (draft / "new").write_text("new")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["new"]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a", {"x": 1, "y": [1.5, None]})
    files.write_json(tmp_path / "b", {"y": [1.5, None], "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert files.read_json(tmp_path / "a") == {"x": 1, "y": [1.5, None]}
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a", float("nan"))


# --- manifests ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "made"
    (made / "inner").mkdir(parents=True)
    (made / "a").write_bytes(b"abc")
    (made / "inner" / "b").write_bytes(b"defg")
    files.write_manifest(made, scale="tiny")
    return made


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": 1}', "\udc80"])
def test_a_damaged_manifest_is_told(folder: Path, text: str) -> None:
    (folder / files.MANIFEST).write_text(text, errors="surrogateescape")
    with pytest.raises(Refusal, match=r"manifest\.json is damaged: .*verify"):
        files.check_manifest(folder)


def test_every_flipped_bit_of_a_manifest_is_told_or_says_the_same(folder: Path) -> None:
    """Also where it is in a name of a fact, which whoever reads it would miss."""
    path = folder / files.MANIFEST
    whole, before = path.read_bytes(), files.check_manifest(folder)
    taken, told = [], []
    for at in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[at // 8] ^= 1 << at % 8
        path.write_bytes(damaged)
        try:
            taken.append(files.check_manifest(folder))
        except Refusal as refused:
            told.append(str(refused))
    assert all(manifest == before for manifest in taken)
    assert all("manifest.json is damaged: " in words for words in told)
    assert len(told) > 0.9 * 8 * len(whole)


def test_what_is_sealed_is_read_as_json_says_it(tmp_path: Path) -> None:
    files.write_json(tmp_path / "a.json", files.sealed({"10": 1, "shares": (0.5, -0.0), "of": {2: "x"}}))
    assert files.read_sealed(tmp_path / "a.json") == {"10": 1, "shares": [0.5, -0.0], "of": {"2": "x"}}
    (tmp_path / "a.json").write_text('{"digest": "0", "a": NaN}')
    with pytest.raises(Refusal, match=r"a\.json is damaged"):
        files.read_sealed(tmp_path / "a.json")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files whose bytes are hashed from here on."""
    names: list[str] = []
    plain = files.sha256
    monkeypatch.setattr(files, "sha256", lambda path: names.append(path.name) or plain(path))
    return names


def test_a_manifest_holds_facts_and_the_hash_of_every_file(folder: Path) -> None:
    manifest = files.check_manifest(folder)
    assert manifest["scale"] == "tiny"
    assert manifest["files"] == {
        "a": files.sha256(folder / "a"),
        "inner/b": files.sha256(folder / "inner" / "b"),
    }
    assert len(manifest["files"]["a"]) == 64


@pytest.mark.parametrize("once", [False, True])
@pytest.mark.parametrize("damage", ["flipped", "longer", "missing"])
def test_a_damaged_file_is_told_by_name(folder: Path, once: bool, damage: str) -> None:
    """Also where all was well at an earlier comparison: a flipped byte leaves the size as it was."""
    files.check_manifest(folder, once)
    path = folder / "inner" / "b"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"defh" if damage == "flipped" else b"defgh")
    with pytest.raises(
        Refusal,
        match=r"inner/b is not the file that its manifest describes; python -m stages.verify --mend",
    ):
        files.check_manifest(folder, once)


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match=r"has no manifest\.json"):
        files.check_manifest(tmp_path)


def test_unchanged_files_are_not_read_again(folder: Path, read: list[str]) -> None:
    first = files.check_manifest(folder, once=True)
    assert read == ["a", "b"]
    assert files.check_manifest(folder, once=True) == first
    assert read == ["a", "b"]
    files.check_manifest(folder)
    assert read == ["a", "b"] * 2, "without `once` every comparison reads"


@pytest.mark.parametrize("change", ["time", "inode", "manifest"])
def test_files_that_may_have_changed_are_read_again(folder: Path, read: list[str], change: str) -> None:
    files.check_manifest(folder, once=True)
    path = folder / "a"
    about = path.stat()
    if change == "time":
        os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    elif change == "inode":
        copy = folder.parent / "copy"
        copy.write_bytes(path.read_bytes())
        os.utime(copy, ns=(about.st_atime_ns, about.st_mtime_ns))
        os.replace(copy, path)
    else:
        manifest = files.read_sealed(folder / files.MANIFEST)
        manifest["files"]["a"] = "0" * 64
        files.write_json(folder / files.MANIFEST, files.sealed(manifest))
    read.clear()
    if change == "manifest":
        with pytest.raises(Refusal, match="a is not the file"):
            files.check_manifest(folder, once=True)
        return
    files.check_manifest(folder, once=True)
    assert read == ["a", "b"]
    files.check_manifest(folder, once=True)
    assert read == ["a", "b"]


def test_a_flipped_byte_is_found_though_the_note_of_a_comparison_lies_beside(folder: Path) -> None:
    files.check_manifest(folder, once=True)
    path = folder / "a"
    before = path.stat()
    path.write_bytes(b"abd")
    assert path.stat().st_size == before.st_size
    with pytest.raises(Refusal, match="a is not the file that its manifest describes"):
        files.check_manifest(folder, once=True)
    with pytest.raises(Refusal, match="a is not the file that its manifest describes"):
        files.check_manifest(folder, once=True)  # the refusal leaves no note that all is well


def test_the_note_lies_beside_the_folder_and_not_in_it(folder: Path) -> None:
    before = sorted(path.name for path in folder.rglob("*"))
    files.check_manifest(folder, once=True)
    assert sorted(path.name for path in folder.rglob("*")) == before
    assert (folder.parent / ".made.compared.json").is_file()
