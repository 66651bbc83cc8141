"""Resumable state of a run in progress: kill it, run the same command again, and it goes on.

The folder is named by the run's fingerprint (settings, data, code), so that a changed run
starts afresh. An exclusive lock keeps a second process, such as the child that a killed
`dvc repro` leaves running, from writing into the same run.
"""

import fcntl
import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import alchemist
from alchemist.core import files
from alchemist.core.refusal import Refusal

SCRATCH = Path(".scratch")  # from the repo's folder on; what lies there is no result


def fingerprint(**facts: Any) -> str:
    """A digest of the facts and of the package's source files."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for path in sorted(Path(alchemist.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


class Scratch:
    """The folder of one run. Use as a context manager; `clear` once the result is in place."""

    def __init__(self, base: Path, mark: str, every_seconds: float = 30.0) -> None:
        self.folder, self.mark, self.every = base / mark[:16], mark, every_seconds
        self.saved_at = time.monotonic()

    def __enter__(self) -> "Scratch":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise Refusal(
                f"{self.folder} is in use by another process that runs the same work; "
                "wait for it or end it, then run this again."
            ) from None
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self.saved_at >= self.every

    def save(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Replaces the saved state: tensors and JSON facts in one file."""
        whole = {name: tensor.contiguous() for name, tensor in tensors.items()}
        with files.whole(self.folder / "state.safetensors") as draft:
            save_file(whole, draft, {"mark": self.mark, "facts": json.dumps(facts)})
        self.saved_at = time.monotonic()

    def load(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The saved state, or None. Raises Refusal where it is another run's."""
        path = self.folder / "state.safetensors"
        if not path.is_file():
            return None
        with safe_open(path, "pt") as file:
            about = file.metadata()
            if about["mark"] != self.mark:
                raise Refusal(f"{path} belongs to another run; remove {self.folder} to start afresh.")
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(about["facts"])  # noqa: SIM118

    def clear(self) -> None:
        """Removes the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)
