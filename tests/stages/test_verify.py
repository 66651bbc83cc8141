"""Damage here and in DVC's cache is named, and what is named is made again as it was."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

from alchemist.core.refusal import Refusal
from stages import verify

PIPELINE = """
stages:
  counted:
    cmd: mkdir -p out/inner && seq 9 > out/nine && seq 3 > out/inner/three && seq 5 > five
    outs: [out, five]
"""
WRITTEN = {"out/nine": range(1, 10), "out/inner/three": range(1, 4), "five": range(1, 6)}


@pytest.fixture
def repo(tmp_path: Path) -> Iterator[Path]:
    with contextlib.chdir(tmp_path):
        (tmp_path / "dvc.yaml").write_text(PIPELINE)
        Repo.init(no_scm=True)
        Repo().reproduce()
        yield tmp_path


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:1] + bytes([content[1] ^ 1]) + content[2:])


def cached(repo: Path, name: str) -> Path:
    """The object that holds what a file here has."""
    content = (repo / name).read_bytes()
    return next(p for p in (repo / ".dvc/cache").rglob("*") if p.is_file() and p.read_bytes() == content)


def test_what_is_sound_is_said_to_be(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verify.run()
    said = capsys.readouterr().out
    assert "3 here, 4 in the cache\n" in said
    assert "every artefact that was found has the bytes that dvc.lock says" in said
    (repo / "five").unlink()
    verify.run()
    assert "1 missing here" in capsys.readouterr().out


def test_what_git_keeps_is_not_missed_in_the_cache(repo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As the summary is, in a clone that pulled everything."""
    (repo / "dvc.yaml").write_text(PIPELINE.replace("[out, five]", "[out, five: {cache: false}]"))
    Repo().reproduce(force=True)
    cached(repo, "five").unlink()
    verify.run()
    assert "3 here, 3 in the cache\n" in capsys.readouterr().out
    cached(repo, "out/nine").unlink()
    verify.run()
    assert "3 here, 2 in the cache, 1 missing in the cache\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "damaged",
    [("out/inner/three", ""), ("", "five"), ("five", "out/nine"), ("", ".dir"), ("out/nine", ".dir")],
)
def test_damage_is_named_and_mended(
    repo: Path, capsys: pytest.CaptureFixture[str], damaged: tuple[str, str]
) -> None:
    """In a file here, in an object of the cache, in both, in the list of a folder's files."""
    here, there = damaged
    object_ = next((repo / ".dvc/cache").rglob("*.dir")) if there == ".dir" else cached(repo, there or "five")
    paths = ([repo / here] if here else []) + ([object_] if there else [])
    for path in paths:
        damage(path)
    with pytest.raises(Refusal, match=r"as their stages wrote them; python -m stages\.verify --mend removes"):
        verify.run()
    said = capsys.readouterr().out
    named = [path if there != ".dir" or path == object_ else repo / "out" for path in paths]
    assert all(f"{path}, of stage counted; its bytes are not those of dvc.lock" in said for path in named)
    verify.run(mend=True)
    assert not object_.exists() or not there
    Repo().reproduce()
    verify.run()
    for name, numbers in WRITTEN.items():
        assert (repo / name).read_text() == "".join(f"{number}\n" for number in numbers)


def test_a_file_that_no_stage_wrote_and_a_lost_list_are_told(
    repo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repo / "out/more").write_text("more")
    with pytest.raises(Refusal, match="1 files are not"):
        verify.run()
    assert f"{repo}/out/more, of stage counted; it is none of the files" in capsys.readouterr().out
    next((repo / ".dvc/cache").rglob("*.dir")).unlink()
    with pytest.raises(Refusal, match="1 files are not"):
        verify.run()  # of the folder as a whole
    (repo / "out/more").unlink()
    verify.run()


def test_what_a_person_gave_to_dvc_is_theirs(repo: Path) -> None:
    """No command makes it again, so an edit of it is no damage, and nothing removes it."""
    (repo / "mine.csv").write_text("a")
    Repo().add(str(repo / "mine.csv"))
    (repo / "mine.csv").write_text("b")
    verify.run(mend=True)
    assert (repo / "mine.csv").read_text() == "b"


def test_a_remote_is_read_too_and_left_alone(repo: Path, tmp_path: Path) -> None:
    with Repo().config.edit() as config:
        config["remote"]["store"] = {"url": str(tmp_path / "store")}
    Repo().push(remote="store")
    verify.run(remote="store")
    damage(next(p for p in (tmp_path / "store").rglob("*") if p.is_file() and p.suffix != ".dir"))
    for mend in (False, True):
        with pytest.raises(Refusal, match="1 objects of the remote store have other bytes"):
            verify.run(remote="store", mend=mend)
    with pytest.raises(Refusal, match="remote 'nowhere' doesn't exist"):
        verify.run(remote="nowhere")


def test_what_is_no_repo_of_dvc_is_refused(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path), pytest.raises(Refusal, match="not inside of a DVC repository"):
        verify.run()
