"""Which stages of dvc.yaml are done, which would run and why, by DVC's own comparison. Nothing is written.

Params may be others than those of the file: DVC is given a file system in which params.yaml, and what the
stage check would make of it, hold them.
"""

import graphlib
import hashlib
import io
import itertools
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.scm import SCMError
from dvc.utils.hydra import apply_overrides
from omegaconf.errors import OmegaConfBaseException

from alchemist.core.files import json_text, sealed
from alchemist.core.refusal import Refusal
from alchemist.plan.jobs import Job, State

GIVEN, PASSED_ON = "params.yaml", "data/params.json"  # the latter is made of the former by the stage check
CHANGES = {"modified": "changed", "new": "is new", "deleted": "is missing"}  # DVC's words, and ours


def overridden(params: Path, changes: list[str]) -> str:
    """The text of a params file with KEY=VALUE laid over, as `dvc exp run -S` does. Raises Refusal for a
    change that DVC refuses."""
    text = params.read_text(encoding="utf-8")
    if not changes:
        return text
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "params.yaml"
        copy.write_text(text, encoding="utf-8")
        try:
            apply_overrides(copy, changes)
        except (DvcException, OmegaConfBaseException):
            for change in changes:  # which of them it is
                _laid(copy, change, params)
            raise
        return copy.read_text(encoding="utf-8")


def _laid(copy: Path, change: str, params: Path) -> None:
    try:
        apply_overrides(copy, [change])
    except (DvcException, OmegaConfBaseException) as error:
        cause = str(error.__cause__ or error).strip().splitlines()[0].rstrip(".")
        hint = "; ++ goes before a key that it leaves to its default" if "Could not override" in cause else ""
        raise Refusal(f"-S {change} cannot be laid over {params}: {cause}{hint}.") from None


def jobs(root: Path, text: str, params: dict[str, Any]) -> list[Job]:
    """Every stage and cell of dvc.yaml; `text` is of params.yaml, `params` what check passes on.

    Raises Refusal where the folder is no repo of DVC, its files cannot be read, or a running repro holds it.
    """
    root = root.resolve()
    held = {str(root / GIVEN): text, str(root / PASSED_ON): json_text(sealed(params))}
    try:
        repo = Repo(str(root), fs=_Held(held))
        with repo.lock:
            return _jobs(repo, held)
    except LockError:
        raise Refusal(
            "DVC is at work in this repo and holds its lock; plan again when dvc repro has ended."
        ) from None
    except (DvcException, SCMError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise Refusal(f"DVC cannot read the pipeline of {root}: {said}.") from None


class _Held(LocalFileSystem):  # type: ignore[misc]
    """The files of this machine, but for some whose text is held here.

    Bytes, which DVC asks for to hash them, are the file's: it remembers digests by the file's name.
    """

    def __init__(self, held: dict[str, str]) -> None:
        super().__init__()
        self.held = held

    def open(self, path: Any, mode: str = "r", **kwargs: Any) -> Any:
        """A held text, or the file."""
        if "b" not in mode and (text := self.held.get(os.path.abspath(path))) is not None:
            return io.StringIO(text)
        return super().open(path, mode=mode, **kwargs)

    def exists(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """A held one does."""
        return (isinstance(path, str) and os.path.abspath(path) in self.held) or super().exists(
            path, *args, **kwargs
        )

    def isfile(self, path: Any) -> bool:
        """A held one is."""
        return os.path.abspath(path) in self.held or bool(super().isfile(path))


def _jobs(repo: Repo, held: dict[str, str]) -> list[Job]:
    index, found = repo.index, dict[Any, Job]()
    # A stage comes after those that it reads.
    reads = {stage: list(index.graph.successors(stage)) for stage in index.graph}
    for stage in graphlib.TopologicalSorter(reads).static_order():
        before = [(other, found[other]) for other in reads[stage] if other in found]
        anew = [other for other, job in before if job.state != "done" and not _makes(other, PASSED_ON)]
        own = []
        if not any(one.hash_info for one in (*stage.deps, *stage.outs)):
            own.append("never ran")
        else:
            if stage.changed_stage():
                own.append("its command changed")
            for dep in stage.deps:
                # One that is missing or differs because its stage would run says no more than that.
                if not any(_makes(other, _path(dep)) for other in anew):
                    own += _of_dep(dep, held)
            words = {_out_word(out, held) for out in stage.outs}
            own += sorted(word for word in words if word)
        after = [f"after {name}" for name in dict.fromkeys(found[other].group for other in anew)]
        state: State = "runs" if own else "follows" if after else "done"
        said = stage.cmd if isinstance(stage.cmd, str) else " ".join(stage.cmd)
        words_of = list(itertools.pairwise(shlex.split(said)))
        found[stage] = Job(
            name=stage.addressing,
            script=next((b for a, b in words_of if a == "-m"), "").removeprefix("stages."),
            options={a: b for a, b in words_of if a.startswith("--")},
            state=state,
            reasons=(*own, *after),
        )
    return [found[stage] for stage in index.stages if stage in found]


def _path(entry: Any) -> str:
    """Of a dep or an out, from the repo's root."""
    return Path(os.path.relpath(entry.fs_path, entry.repo.root_dir)).as_posix()


def _makes(stage: Any, path: str) -> bool:
    """Whether a stage writes a path, something in it, or what it lies in."""
    outs = [_path(out) for out in stage.outs]
    return any(out == path or out.startswith(f"{path}/") or path.startswith(f"{out}/") for out in outs)


def _of_dep(dep: Any, held: dict[str, str]) -> list[str]:
    """How a dep differs from what the last run read."""
    path = _path(dep)
    if not isinstance(dep, ParamsDependency) and (text := held.get(dep.fs_path)) is not None:
        digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
        return [] if dep.hash_info.value == digest else [f"{path} changed"]
    found = []
    for what, word in dep.status().items():
        if isinstance(word, dict):
            found += [f"{key} {CHANGES[how]}" for key, how in word.items()]
        else:
            found.append(f"{path} {CHANGES.get(word, what)}")
    return found


def _out_word(out: Any, held: dict[str, str]) -> str:
    """How an out differs from what the last run wrote; "" where it does not."""
    if out.fs_path in held:
        return "" if Path(out.fs_path).is_file() else "an output is missing"
    words = set(out.status().values())
    if words & {"deleted", "not in cache"}:
        return "an output is missing"
    return "an output was changed" if words else ""
