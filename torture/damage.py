"""Flips bytes of every kind of artefact, cuts states, fills disks: each told in a sentence."""

import contextlib
import itertools
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torture.kills import differing
from torture.repo import Repo, copied, end, flip, row

PROMISE = "damage is told"
MOST = 4  # flips in files of a kind
# What is damaged, by glob, and a stage that reads it.
READ = (
    ("data/params.json", "prune@alchemist-0.5"), ("data/read/*", "copies"), ("data/truth/*", "report"),
    ("data/pool/*", "encode@star"), ("data/pool/*", "scorer"),
    ("data/pool/*", "report"), ("data/codec/star/*", "encode@star"), ("data/encoded/star/*", "rate@loss-0"),
    ("data/encoded/star/*", "train@alchemist-0.5-xs-0"), ("data/scorer/*", "embedding@clip_score"),
    ("data/scorer/*", "floors@star"), ("data/floors/star/*", "evaluate@alchemist-0.5-xs-0"),
    ("data/ratings/alchemist/*", "prune@alchemist-0.5"), ("data/ratings/*/*", "report"),
    ("data/raters/*/*/*", "report"), ("data/subsets/alchemist/0.5/0.parquet", "train@alchemist-0.5-xs-0"),
    ("data/subsets/*/*/*", "report"), ("data/pretrained/*/*", "train_flux@alchemist-0.5-flux_adapted-0"),
    ("data/models/alchemist-0.5-xs-0/*", "evaluate@alchemist-0.5-xs-0"),
    ("data/scores/alchemist-0.5-xs-0/*", "report"),
)  # fmt: skip


def flips(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """A row a kind of artefact: some of its files have a bit flipped each, and its reader runs."""
    repo = copied(base, folder / "flips")
    rows = []
    for glob, reader in READ:
        with repo.timings_kept(reader):
            rows.append(_flipped(repo, glob, reader))
    return rows


def _flipped(repo: Repo, glob: str, reader: str) -> dict[str, Any]:
    chance = random.Random(f"{glob} {reader}")
    whole = repo.bytes_of(reader)
    files = [path for path in sorted(repo.folder.glob(glob)) if path.is_file() and path.stat().st_size]
    told, harmless, faults = 0, 0, list[str]() if files else ["there is none"]
    chance.shuffle(files)
    for path in itertools.islice(itertools.cycle(files), MOST):
        content = path.read_bytes()
        at = chance.randrange(len(content))
        flip(path, at, chance.randrange(8))
        repo.remove(reader)
        done = repo.call(*repo.command(reader))
        name = path.relative_to(repo.folder)
        if done.returncode:
            lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
            if (
                len(lines) != 1
                or "Traceback" in done.stderr
                or "damaged" not in lines[0] + "damaged" * ("manifest" in lines[0])
            ):
                faults.append(f"{name}, byte {at}: {done.stderr[-300:]}")
            told += 1
        elif differing(whole, repo.bytes_of(reader)):
            faults.append(f"{name}, byte {at}: taken without a word")
        else:
            harmless += 1
        path.write_bytes(content)
        shutil.rmtree(repo.folder / ".scratch", ignore_errors=True)
    done = repo.call(*repo.command(reader))
    if done.returncode or repo.bytes_of(reader) != whole:
        faults.append(f"not as before: {done.stderr[-300:]}")
    figure = f"{told} of {told + harmless} told, the others in what is not read"
    figure += "".join(f"; {fault}" for fault in faults[:2])
    return row(PROMISE, f"{glob}, read by {reader}", figure, not faults)


def cache(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """An object of the cache and a file here are damaged: verify names both, and its remedy works."""
    repo = copied(base, folder / "cache")
    name = "train@alchemist-0.5-xs-0"
    whole = repo.bytes_of(name)
    here = repo.folder / "data/models/alchemist-0.5-xs-0/log.jsonl"
    object_ = next(path for path in (repo.folder / ".dvc/cache").rglob("*")
                   if path.is_file() and path.read_bytes() == here.read_bytes())  # fmt: skip
    for path in (here, object_):
        flip(path, path.stat().st_size // 2)
    verify = (sys.executable, "-m", "stages.verify")
    first, mended = repo.call(*verify), repo.call(*verify, "--mend")
    made = repo.call(sys.executable, "-m", "dvc", "repro", "--single-item", name)
    after = repo.call(*verify)
    is_named = str(here) in first.stdout and object_.name in first.stdout and first.returncode == 2
    holds = is_named and not (mended.returncode or made.returncode or after.returncode)
    holds = holds and repo.bytes_of(name) == whole
    figure = "named both, removed both, made again equal" if holds else (first.stdout + after.stdout)[-400:]
    return [row(PROMISE, "an object of the cache", figure, holds)]


def states(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """A killed training's state is cut, or has a byte flipped: told, and then equal bytes."""
    repo = copied(base, folder / "states")
    rows = []
    for name in ("train@alchemist-0.5-xs-0", "rate@alchemist-0", "codec@star"):
        whole = repo.bytes_of(name)
        for how in ("cut", "flipped"):
            repo.remove(name)
            state = _killed_with_a_state(repo, name)
            half = state.stat().st_size // 2
            if how == "cut":
                os.truncate(state, half)
            else:
                flip(state, half)
            done = repo.call(*repo.command(name))
            is_told = (
                done.returncode == 2
                and "is damaged: its bytes are not those that were saved; remove" in done.stderr
            )
            shutil.rmtree(state.parent)
            again = repo.call(*repo.command(name))
            holds = is_told and not again.returncode and repo.bytes_of(name) == whole
            figure = "told, and equal bytes after its remedy" if holds else done.stderr[-400:]
            rows.append(row(PROMISE, f"state of {name} {how}", figure, holds))
    return rows


def _killed_with_a_state(repo: Repo, name: str) -> Path:
    """Kills a stage once it has saved a state."""
    process = repo.start(*repo.command(name))
    for _ in range(1200):
        time.sleep(0.05)
        if found := list(repo.folder.glob(".scratch/*/state.safetensors")):
            end(process, signal.SIGKILL)
            return found[0]
    raise RuntimeError(f"{name} saved no state: {end(process, signal.SIGKILL)[-500:]}")


def disks(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """Outs and states on a disk of some kB, and on one that is read-only: a sentence, no half results."""
    repo = copied(base, folder / "disks")
    small = repo.folder / "small"
    small.mkdir()
    rows = []
    for name, kilobytes in (
        ("prepare", 40), ("copies", 100), ("codec@star", 300), ("encode@star", 300), ("scorer", 300),
        ("floors@star", 40), ("rate@alchemist-0", 4), ("prune@alchemist-0.5", 4), ("heuristic@clarity", 4),
        ("train@alchemist-0.5-xs-0", 3000), ("pretrain@flux_adapted", 300),
        ("evaluate@alchemist-0.5-xs-0", 4),
    ):  # fmt: skip
        outs = {
            str(path.relative_to(repo.folder)): f"small/{number}"
            for number, path in enumerate(repo.outs(name))
        }
        words = [outs.get(word, word) for word in repo.command(name)]
        words += ["--scratch", "small/scratch"] if "--every" in words else []
        for options, says in ((f"size={kilobytes}k", "the disk is full"), ("ro", "Read-only file system")):
            try:
                with _disk(small, options):
                    done = repo.call(*words)
                    left = [path.name for path in small.iterdir() if path.name != "scratch"]
            except subprocess.CalledProcessError:
                return [row("a full disk", "all", "not run: only root mounts disks", False)]
            lines = done.stderr.strip().splitlines()
            is_told = done.returncode == 1 and says in done.stderr and "Traceback" not in done.stderr
            # Of several outs the first may be there, whole.
            holds = is_told and not any(one.startswith(".") for one in left) and len(left) < len(outs)
            figure = (
                next(line[line.index("error: ") :] for line in lines if "error: " in line)
                if holds
                else f"{lines[-3:]}, there is {left}"
            )
            rows.append(row("a full disk", f"{name}, {options}", figure, holds))
    return rows


@contextlib.contextmanager
def _disk(place: Path, options: str) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True, capture_output=True)
