"""Resumable state of a run in progress: kill it, run the same command again, and it goes on.

The folder is named by the run's fingerprint (settings, data, code), so that a changed run
starts afresh. An exclusive lock keeps a second process, such as the child that a killed
`dvc repro` leaves running, from writing into the same run.
"""

import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from alchemist.core import files, state, world
from alchemist.core.refusal import Refusal

EVERY = 30.0  # seconds between saved states
SHARE = 20  # that many times as long as a save takes passes at least until the next
STATE = "state.safetensors"


class Scratch:
    """The folder of one run. Use as a context manager; `clear` once the result is in place."""

    def __init__(self, base: Path, mark: str, every_seconds: float = EVERY) -> None:
        """`every_seconds` 0: a state after every step."""
        self.folder, self.mark, self.every = base / mark[:16], mark, every_seconds
        self.saved_at, self.took = time.monotonic(), 0.0
        self._kept: dict[str, str] = {}  # digests of files that lie beside the state

    def __enter__(self) -> "Scratch":
        if not world.is_writer():
            world.wait()
            if not self.folder.is_dir():
                raise Refusal(
                    f"{self.folder} is not there for process {world.rank()}: the processes have to share the "
                    "disk that it lies on, or --scratch names a folder on one."
                )
            return self
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = files.take(self.folder / "lock", os.O_RDWR | os.O_CREAT)
        except BlockingIOError:
            raise Refusal(
                f"{self.folder} is in use by another process that runs the same work, perhaps one that a "
                "killed dvc left running; wait for it or end it, then run this again."
            ) from None
        world.wait()
        return self

    def __exit__(self, *_: object) -> None:
        if world.is_writer():
            files.leave(self._lock)

    def due(self) -> bool:
        """Whether it is time to save again; never for a process that does not write."""
        if not world.is_writer():
            return False
        wait = max(self.every, SHARE * self.took) if self.every else 0.0
        return time.monotonic() - self.saved_at >= wait

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replaces the saved state: tensors, JSON facts, and digests of the files that `keep` took."""
        if not world.is_writer():
            return
        started = time.monotonic()
        held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        about = {"mark": self.mark, "facts": json.dumps(facts), "beside": json.dumps(self._kept)}
        with files.whole(self.folder / STATE) as draft:
            save_file(held, draft, {**about, "digest": _digest(held, about)})
            with draft.open("rb") as file:
                os.fsync(file.fileno())  # else a power cut may leave a name without its bytes
        self.saved_at = time.monotonic()
        self.took = self.saved_at - started

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved state, or None. Raises Refusal where it is another run's, not as it was saved, or not the
        same for all processes."""
        path = self.folder / STATE
        found, digest = self._read(path) if path.is_file() else (None, "")
        world.agree(
            digest,
            f"the processes see different states at {path}; they have to share the disk that it lies on, or "
            "--scratch names a folder on one.",
        )
        return found

    def _read(self, path: Path) -> tuple[tuple[dict[str, Tensor], dict[str, Any]], str]:
        """A state, and its digest."""
        try:
            with safe_open(path, "pt") as file:
                about = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, ValueError, RuntimeError):
            raise self.damaged(path) from None
        digest = about.pop("digest", "")
        if digest != _digest(tensors, about):
            raise self.damaged(path)
        if about["mark"] != self.mark:
            raise Refusal(f"{path} belongs to another run; remove {self.folder} to start afresh.")
        self._kept = json.loads(about["beside"])
        for name, kept in self._kept.items():
            if not (self.folder / name).is_file() or files.sha256(self.folder / name) != kept:
                raise self.damaged(self.folder / name)
        return (tensors, json.loads(about["facts"])), digest

    def keep(self, path: Path) -> None:
        """Takes a finished file of the folder, as a checkpoint is, into the states saved from now on."""
        if world.is_writer():
            self._kept[path.name] = files.sha256(path)

    def damaged(self, path: Path) -> Refusal:
        """The sentence for a file of the folder that is not as it was saved."""
        return Refusal(
            f"{path} is damaged: its bytes are not those that were saved; remove {self.folder} and run this "
            "again, which starts the run afresh."
        )

    def clear(self) -> None:
        """Removes the folder, the state first: it would miss what lies beside it."""
        world.wait()
        if not world.is_writer():
            return
        (self.folder / STATE).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    return state.digest(tensors, json.dumps(dict(about), sort_keys=True))
