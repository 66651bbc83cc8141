"""Whether every artefact still has the bytes that dvc.lock says: python -m stages.verify.

All bytes are read again, here, in DVC's cache and, where one is named, in a remote: DVC itself trusts a file
whose time did not change and an object of its cache whatever it holds.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.scm import SCMError

from alchemist.core import files, progress
from alchemist.core.refusal import Refusal
from stages import stage

PIECE = 1 << 20  # bytes read at once
OTHERS = "its bytes are not those of dvc.lock"


@dataclass(frozen=True)
class Artefact:
    """A file that a stage wrote; of a folder whose list of files is nowhere the folder itself."""

    stage: str
    out: Path  # of the stage: the file itself, or a folder that it lies in
    path: Path
    md5: str  # of a list of files it ends in .dir
    cached: bool  # or git keeps it; DVC's cache and remotes may have it all the same


def run(
    remote: Annotated[str | None, typer.Option(help="a remote of DVC, whose objects are read too")] = None,
    mend: Annotated[
        bool,
        typer.Option("--mend", help="remove what is damaged here and in the cache; dvc repro makes it again"),
    ] = False,
) -> None:
    """Names every artefact that differs from what its stage wrote, where, and its stage."""
    try:
        repo = Repo()
        stores = {"in the cache": repo.cache.local}
        if remote is not None:
            stores[f"in the remote {remote}"] = repo.cloud.get_remote_odb(remote)
        with repo.lock:
            damaged, elsewhere = _verify(repo, stores, mend)
    except LockError:
        raise Refusal(
            "DVC is at work in this repo and holds its lock; try again when it has ended."
        ) from None
    except (DvcException, SCMError) as error:
        raise Refusal(" ".join(str(error).split()).rstrip(".") + ".") from None
    if damaged and not mend:
        raise Refusal(f"{damaged} files are not as their stages wrote them; {files.REMEDY}.")
    if damaged:
        print("what is damaged here and in the cache was removed; dvc repro makes it again")
    if elsewhere:
        raise Refusal(
            f"{elsewhere} objects of the remote {remote} have other bytes than their names say; remove them "
            f"there, and dvc push --remote {remote} brings those of the cache."
        )
    if not damaged:
        print("every artefact that was found has the bytes that dvc.lock says")


def _verify(repo: Any, stores: dict[str, Any], mend: bool) -> tuple[int, int]:
    """How many files are damaged here and in the cache, and how many in a remote, each told."""
    counts: Counter[str] = Counter()
    known = list(artefacts(repo, stores))
    damaged: list[tuple[Artefact, str, object, str]] = []
    elsewhere = 0
    damaged += [(one, "here", path, why) for one, path, why in _in_workspace(known, counts)]
    for out in {one.out for one, _, _, _ in damaged} if mend else ():
        shutil.rmtree(out) if out.is_dir() else out.unlink()
    objects = {one.md5: one for one in (*_lists(repo), *known)}
    for where, store in stores.items():
        found = list(_in_store(store, where, objects, counts))
        damaged += [(one, where, place, OTHERS) for one, place in found]
        elsewhere += len(found) if store is not repo.cache.local else 0
        if mend and store is repo.cache.local:
            for _, place in found:
                store.fs.remove(place)
    for one, where, at, why in damaged:
        print(f"damaged {where}: {at}, of stage {one.stage}; {why}")
    print(", ".join(f"{count:,} {where}" for where, count in counts.items()) or "dvc.lock names no artefact")
    return len(damaged) - elsewhere, elsewhere


def _in_workspace(known: list[Artefact], counts: Counter[str]) -> Iterator[tuple[Artefact, Path, str]]:
    """What differs here, and why."""
    for one in progress.bar(known, unit="files", desc="here"):
        counts["here" if one.path.exists() else "missing here"] += 1
        if one.path.exists() and _here(one.path, one.md5) != one.md5:
            yield one, one.path, OTHERS
    written = {one.path for one in known}
    for out, one in {one.out: one for one in known if one.out != one.path and one.out.is_dir()}.items():
        for path in sorted(path for path in out.rglob("*") if path.is_file() and path not in written):
            yield one, path, "it is none of the files that dvc.lock lists"


def _in_store(
    store: Any, where: str, objects: dict[str, Artefact], counts: Counter[str]
) -> Iterator[tuple[Artefact, str]]:
    """Objects whose bytes have another hash than their name, and their places."""
    for md5, one in progress.bar(objects.items(), unit="objects", desc=where):
        place = store.oid_to_path(md5)
        is_there = store.fs.exists(place)
        if is_there or one.cached:
            counts[where if is_there else f"missing {where}"] += 1
        if is_there and _md5(store.fs.open(place, "rb")) != md5.removesuffix(".dir"):
            yield one, place


def artefacts(repo: Any, stores: dict[str, Any]) -> Iterator[Artefact]:
    """Every file of every out by dvc.lock; of a folder, by the list that a store holds of it."""
    for out in _outs(repo):
        if out.hash_info.name == "md5":
            one = _whole(out)
            listed = _listed(one.md5, stores) if out.hash_info.isdir else []
            for entry in listed:
                yield replace(one, path=one.out / entry["relpath"], md5=entry["md5"])
            if not listed:
                yield one


def _outs(repo: Any) -> Iterator[Any]:
    """What stages wrote. What a person put under `dvc add` is theirs: no command makes it again."""
    return (out for out in repo.index.outs if out.hash_info and out.stage.cmd)


def _whole(out: Any) -> Artefact:
    path = Path(out.fs_path)
    return Artefact(out.stage.addressing, path, path, out.hash_info.value, out.use_cache)


def _lists(repo: Any) -> Iterator[Artefact]:
    """The lists of files of the outs that are folders."""
    for out in _outs(repo):
        if out.hash_info.isdir:
            yield _whole(out)


def _listed(md5: str, stores: dict[str, Any]) -> list[dict[str, str]]:
    """The files of a folder, from the first store whose list of them is sound; none where no store has it."""
    for store in stores.values():
        place = store.oid_to_path(md5)
        if store.fs.exists(place) and _md5(store.fs.open(place, "rb")) == md5.removesuffix(".dir"):
            with store.fs.open(place, "rb") as file:
                listed: list[dict[str, str]] = json.load(file)
                return listed
    return []


def _here(path: Path, md5: str) -> str:
    """The hash of a file, or that of a folder as DVC takes it: of the list of its files."""
    if not md5.endswith(".dir"):
        return _md5(path.open("rb")) if path.is_file() else ""
    inner = sorted(
        (one.relative_to(path) for one in path.rglob("*") if one.is_file()), key=lambda one: one.parts
    )
    listed = [{"md5": _md5((path / one).open("rb")), "relpath": one.as_posix()} for one in inner]
    text = json.dumps(listed, sort_keys=True).encode()
    return f"{hashlib.md5(text, usedforsecurity=False).hexdigest()}.dir"


def _md5(file: Any) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


if __name__ == "__main__":
    stage(run)
