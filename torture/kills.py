"""Kills every long stage at random moments, again and again, and compares what it leaves in the end.

A chain is one run of a stage that is killed several times and then left alone. Its files, logs too, are to be
those of a run that nobody disturbed, byte by byte, and nothing else is to lie about.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from alchemist.core import files
from torture.repo import Repo, copied, end, row

PROMISE = "kill anything"
KILLS, CHAIN = 20, 5
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# The long ones, of each script and each way to train.
STAGES = (
    "prepare", "copies", "codec@star", "encode@star", "scorer", "rate@alchemist-0", "rate@reference-0",
    "rate@unrolled-0", "rate@el2n-0", "embedding@semdedup", "pretrain@flux_adapted",
    "train@alchemist-0.5-xs-0", "train_flux@alchemist-0.5-flux_adapted-0", "evaluate@alchemist-0.5-xs-0",
)  # fmt: skip


def run(base: Repo, folder: Path, name: str) -> list[dict[str, Any]]:
    """The row of a stage, kept beside the copy, since all of them take half an hour."""
    kept = folder / f"{name}.json"
    if not kept.is_file():
        repo = copied(base, folder / name)
        files.write_json(kept, attack(repo, name, KILLS))
        shutil.rmtree(repo.folder)
    found: dict[str, Any] = files.read_json(kept)
    return [found]


def attack(repo: Repo, name: str, kills: int) -> dict[str, Any]:
    """A row: how often a stage was killed, and whether each chain ended as if it had not been."""
    chance = random.Random(name)
    whole, seconds = repo.bytes_of(name), repo.seconds[name]
    killed: Counter[str] = Counter()
    faults: list[str] = []
    chain = 0  # kills in it so far
    repo.remove(name)
    while killed.total() < kills or chain:
        how = SIGNALS[killed.total() % len(SIGNALS)]
        is_last = chain == CHAIN or killed.total() == kills
        process, is_ours = repo.start(*repo.command(name)), False
        try:
            said, _ = process.communicate(timeout=None if is_last else chance.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            said, is_ours = end(process, how), True
            if process.returncode:  # else it was done just then
                killed[how.name] += 1
                chain += 1
        if "Traceback" in said:
            faults.append(f"a traceback: {said[-600:]}")
        if process.returncode == 0:
            faults += [f"other bytes: {path}" for path in differing(whole, repo.bytes_of(name))]
            faults += [f"left: {path}" for path in repo.left()]
            chain = 0
            repo.remove(name)
        elif not is_ours:
            faults.append(f"it does not go on: {said[-600:]}")
            break
    words = ", ".join(f"{count} {how}" for how, count in sorted(killed.items()))
    figure = f"{killed.total()} kills ({words}) in {seconds:.0f} s" + "".join(f"; {f}" for f in faults[:3])
    return row(PROMISE, name, figure, not faults)


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Paths of files that differ, or are in one alone."""
    return sorted(path for path in {*before, *after} if before.get(path) != after.get(path))


def orphan(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """dvc is killed, its child lives on, and dvc runs again: refused in a sentence, and equal in the end."""
    repo = copied(base, folder / "orphan")
    rows = []
    for name in ("prepare", "encode@star", "rate@alchemist-0", "train@alchemist-0.5-xs-0"):
        whole = repo.bytes_of(name)
        dvc = (sys.executable, "-m", "dvc", "repro", "--force", "--single-item", name)
        process = repo.start(*dvc)
        child = _at_work(repo, name)
        os.kill(child, signal.SIGSTOP)  # so that it is still there when dvc runs again
        process.kill()  # dvc alone
        process.wait()
        again = repo.call(*dvc)
        os.kill(child, signal.SIGCONT)
        while Path(f"/proc/{child}").exists():
            time.sleep(0.1)
        done = repo.call(*dvc)
        is_told = (
            again.returncode and "perhaps one that a killed dvc left running" in again.stdout + again.stderr
        )
        holds = bool(is_told) and not done.returncode and repo.bytes_of(name) == whole
        figure = "refused while the orphan ran, equal bytes after"
        figure = figure if holds else (again.stdout + again.stderr + done.stderr)[-600:]
        rows.append(row(PROMISE, f"dvc killed alone: {name}", figure, holds))
    return rows


def _at_work(repo: Repo, name: str) -> int:
    """The process of a stage that dvc runs, once it writes."""
    words = repo.stages[name]["cmd"].split()[1:]
    for _ in range(3000):
        time.sleep(0.02)
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                called = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")[1:-1]
                if called == words and (path / "cwd").samefile(repo.folder) and repo.left():
                    return int(path.name)
    raise RuntimeError(f"dvc did not run {name}")


def twice(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """Two `dvc repro` at once, and a lock of a process that is gone."""
    repo = copied(base, folder / "twice")
    name = "train@alchemist-0.5-xs-0"
    whole = repo.bytes_of(name)
    repo.remove(name)
    dvc = (sys.executable, "-m", "dvc", "repro", "--force", "--single-item", name)
    both = [repo.start(*dvc) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    codes = [process.returncode for process in both]
    after = repo.call(*dvc[:4], "--single-item", name)
    holds = 0 in codes and not after.returncode and repo.bytes_of(name) == whole
    refused = next(
        (text.strip().splitlines()[-1] for text, code in zip(said, codes, strict=True) if code), ""
    )
    refused = refused.replace(str(repo.folder), ".")[:160]
    figure = f"exit codes {sorted(codes)}; the other: {refused}"
    both_at_once = row(PROMISE, "two dvc repro at once", figure, holds)
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock = repo.folder / ".dvc/tmp/rwlock"
    place = str(repo.folder / "data/read")
    lock.write_text(
        f'{{"write": {{"{place}": {{"pid": {gone.pid}, "cmd": "dvc repro"}}}}}}', encoding="utf-8"
    )
    (repo.folder / ".dvc/tmp/lock").touch()
    done = repo.call(sys.executable, "-m", "dvc", "repro", "--force", "--single-item", "prepare")
    figure = "dvc takes no notice" if not done.returncode else done.stderr[-300:]
    return [both_at_once, row(PROMISE, "the lock of a process that is gone", figure, not done.returncode)]
