"""State of a run in progress: one process at a time, and never a stranger's."""

from pathlib import Path

import pytest
import torch

from alchemist.core.fingerprint import fingerprint
from alchemist.core.refusal import Refusal
from alchemist.core.scratch import Scratch


def test_scratch_refuses_a_second_process_and_a_strangers_state(tmp_path: Path) -> None:
    with Scratch(tmp_path, "a" * 64) as first:
        first.save({"x": torch.ones(2)}, {"step": 3})
        with pytest.raises(Refusal, match="in use by another process"), Scratch(tmp_path, "a" * 64):
            pass
    with (
        Scratch(tmp_path, "a" * 16 + "b" * 48) as other,
        pytest.raises(Refusal, match="belongs to another run"),
    ):
        other.load()
    with Scratch(tmp_path, "a" * 64) as again:
        saved = again.load()
        assert saved is not None
        assert saved[1] == {"step": 3}
        again.clear()
    assert fingerprint(a=1) != fingerprint(a=2)


def test_a_state_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    tensors = {"a": torch.arange(6).reshape(2, 3).T, "b": torch.tensor(1.5)}  # one of them not contiguous
    with Scratch(tmp_path, "m") as scratch:
        assert scratch.load() is None
        scratch.save(tensors, {"step": 3, "log": [{"loss": 0.5}]})
    with Scratch(tmp_path, "m") as again:
        saved = again.load()
    assert saved is not None
    assert saved[0].keys() == tensors.keys()
    assert all(torch.equal(saved[0][name], value) for name, value in tensors.items())
    assert saved[1] == {"step": 3, "log": [{"loss": 0.5}]}


def test_it_is_time_to_save_after_the_stated_seconds(tmp_path: Path) -> None:
    with Scratch(tmp_path, "m", every_seconds=1000) as scratch:
        assert not scratch.due()
        scratch.saved_at -= 1000
        assert scratch.due()
        scratch.save({}, {})
        assert not scratch.due()


def test_a_save_that_takes_long_is_made_seldom(tmp_path: Path) -> None:
    with Scratch(tmp_path, "m", every_seconds=1) as scratch:
        scratch.took, scratch.saved_at = 3.0, scratch.saved_at - 50
        assert not scratch.due()
        scratch.saved_at -= 11
        assert scratch.due()


def test_any_changed_byte_of_a_state_is_told(tmp_path: Path) -> None:
    """Each byte of the file, and of a file that lies beside it; also where it is cut."""
    with Scratch(tmp_path, "m") as scratch:
        beside = scratch.folder / "checkpoint"
        beside.write_bytes(b"weights")
        scratch.keep(beside)
        scratch.save(
            {"a": torch.arange(3), "b": torch.tensor(True), "c": torch.ones(2).bfloat16()}, {"step": 3}
        )
        saved = scratch.load()
        assert saved is not None
        path = scratch.folder / "state.safetensors"
        for damaged in (path, beside):
            whole = damaged.read_bytes()
            for at in range(len(whole)):
                for content in (whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :], whole[:at]):
                    damaged.write_bytes(content)
                    with pytest.raises(
                        Refusal, match=r"is damaged: .* remove .* which starts the run afresh"
                    ):
                        scratch.load()
            damaged.write_bytes(whole)
        again = scratch.load()
        assert again is not None
        assert again[1] == saved[1] == {"step": 3}


def test_a_state_that_is_being_cleared_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in between, the run starts afresh, and is not told that its checkpoint is damaged."""
    with Scratch(tmp_path, "m") as scratch:
        (scratch.folder / "checkpoint").write_bytes(b"weights")
        scratch.keep(scratch.folder / "checkpoint")
        scratch.save({}, {"step": 1})
        monkeypatch.setattr("shutil.rmtree", lambda path, **options: (path / "checkpoint").unlink())
        scratch.clear()
        assert scratch.load() is None
