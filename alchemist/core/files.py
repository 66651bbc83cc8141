"""Files that appear whole under their final name or not at all, and hashes to check them by."""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from alchemist.core.refusal import Refusal


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed onto it when the block ends without an error.

    Raises Refusal where another process writes it. Safetensors puts a file of its own in the draft's place,
    which the lock does not follow: two that save weights hold another lock, of a folder or a state.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    with _held(draft, path, os.O_RDWR | os.O_CREAT):
        try:
            yield draft
            os.replace(draft, path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` that replaces it when the block ends without an error.

    Raises Refusal where another process writes it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.mkdir(exist_ok=True)
    with _held(draft, path, os.O_RDONLY):
        try:
            for left in draft.iterdir():  # by a run that was killed
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
            yield draft
            shutil.rmtree(path, ignore_errors=True)
            os.replace(draft, path)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise


@contextlib.contextmanager
def _held(draft: Path, path: Path, how: int) -> Iterator[None]:
    """Holds the lock of a draft, which ends with its process: a killed one leaves none behind."""
    with contextlib.ExitStack() as after:
        try:
            handle = take(draft, how)
            after.callback(leave, handle)
            is_mine = os.path.samestat(os.fstat(handle), draft.stat())
        except (BlockingIOError, FileNotFoundError):  # the latter where its writer just renamed it
            is_mine = False
        if not is_mine:
            raise Refusal(
                f"{path} is being written by another process, perhaps one that a killed dvc left running; "
                "wait for it or end it, then run this again."
            )
        yield


_TAKEN: set[int] = set()  # handles of locks
_UNLOCKED: set[int] = set()  # of those the ones that lock nothing


def take(path: Path, how: int) -> int:
    """The handle of a file or folder that is opened and locked, for `leave`. Raises BlockingIOError where
    another process has its lock, which ends with that process, whatever workers it leaves. A file system
    without locks, as some of clusters are, is taken as it is."""
    handle = os.open(path, how, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK):
            os.close(handle)
            raise
        _UNLOCKED.add(handle)
    _TAKEN.add(handle)
    return handle


def is_locked(handle: int) -> bool:
    """Whether a handle of `take` is a lock; not on a file system without them."""
    return handle not in _UNLOCKED


def leave(handle: int) -> None:
    """Ends a lock."""
    _TAKEN.discard(handle)
    _UNLOCKED.discard(handle)
    os.close(handle)


def _not_inherited() -> None:
    for handle in _TAKEN:
        os.close(handle)
    _TAKEN.clear()


os.register_at_fork(after_in_child=_not_inherited)  # a worker that outlives its parent would hold its locks


def write_json(path: Path, value: Any) -> None:
    """JSON with sorted keys, so that equal values give equal bytes."""
    with whole(path) as draft:
        draft.write_text(json_text(value), encoding="utf-8")


def json_text(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n"


MANIFEST, DIGEST = "manifest.json", "digest"
# `dvc checkout` would bring a damaged object of the cache back.
REMEDY = "python -m stages.verify --mend removes what is damaged, and dvc repro makes it again"
ASSET_REMEDY = "git checkout brings back what is of the repo; what was put there has to be copied anew"


def read_json(path: Path, remedy: str = REMEDY) -> Any:
    """The value in a JSON file. Raises Refusal where it is none, as whoever writes it leaves none such."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise Refusal(f"{path} is damaged: it is no JSON; {remedy}.") from None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sealed(value: dict[str, Any]) -> dict[str, Any]:
    """A value with its own digest, by which `read_sealed` knows it again in a JSON file."""
    plain = json.loads(json_text(value))  # as it will be read: keys are strings
    return {**plain, DIGEST: _digest(plain)}


def read_sealed(path: Path, remedy: str = REMEDY) -> dict[str, Any]:
    """The value that was `sealed` in a JSON file. Raises Refusal where the file says anything else."""
    value = read_json(path, remedy)
    with contextlib.suppress(ValueError):  # of a number that is none, which was never written
        if isinstance(value, dict) and value.pop(DIGEST, None) == _digest(value):
            return value
    raise Refusal(f"{path} is damaged: it is not what its own digest is of; {remedy}.")


def _digest(value: Any) -> str:
    return hashlib.sha256(json_text(value).encode()).hexdigest()


def write_manifest(folder: Path, known: Mapping[str, str] | None = None, /, **facts: Any) -> None:
    """Writes the hashes of all files of a folder, and some facts, into its manifest.json, sealed.

    `known` are hashes of files that were read already.
    """
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    known = known or {}
    hashes = {name: known.get(name) or sha256(folder / name) for name in names if name != MANIFEST}
    write_json(folder / MANIFEST, sealed({"files": hashes, **facts}))


def check_manifest(
    folder: Path, once: bool = False, names: Collection[str] | None = None, remedy: str = REMEDY
) -> dict[str, Any]:
    """The manifest of a folder, after its files' hashes were compared, or those of `names` that it lists.

    Raises Refusal in one sentence, with the `remedy`, where a file is missing or differs, since a
    data-versioning cache does not verify the bytes that it checks out. `once`: files that nobody touched
    since the last comparison, by what is noted beside the folder, are not read again.
    """
    if not (folder / MANIFEST).is_file():
        raise Refusal(f"{folder} has no {MANIFEST}; {remedy}.")
    manifest = read_sealed(folder / MANIFEST, remedy)
    note = folder.parent / f".{folder.name}.compared.json"
    # Taken before the files are read: one that changes meanwhile has other marks the next time.
    marks = _marks(folder, manifest["files"]) if once else {}
    if once and _noted(note) == marks:
        return manifest
    for name, digest in manifest["files"].items():
        is_asked_for = names is None or name in names
        if is_asked_for and (not (folder / name).is_file() or sha256(folder / name) != digest):
            raise Refusal(f"{folder / name} is not the file that its manifest describes; {remedy}.")
    if once:
        with contextlib.suppress(OSError):  # a folder that cannot be written is compared each time
            draft = note.with_name(f"{note.name}.{os.getpid()}.part")
            draft.write_text(json.dumps(marks), encoding="utf-8")
            os.replace(draft, note)
    return manifest


def _noted(note: Path) -> Any:
    """What an earlier comparison noted; None where there is nothing legible."""
    try:
        return read_json(note)
    except (OSError, ValueError):  # a Refusal is a ValueError
        return None


def _marks(folder: Path, digests: dict[str, str]) -> dict[str, list[Any]]:
    """What tells a file that was not touched since: digest, bytes, times of content and of inode, inode."""
    marks = {}
    for name, digest in digests.items():
        if (folder / name).is_file():
            about = (folder / name).stat()
            marks[name] = [digest, about.st_size, about.st_mtime_ns, about.st_ctime_ns, about.st_ino]
    return marks
