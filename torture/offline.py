"""The whole grid with every socket closed, and with no pickle read from a file."""

from pathlib import Path
from typing import Any

from torture.repo import HERE, Repo, copied, row


def run(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """One row: all stages, each run anew under the guard."""
    repo = copied(base, folder / "offline")
    guarded = {"PYTHONPATH": f"{HERE}/torture/guard:{repo.folder}"}
    trial = "import socket; socket.create_connection(('127.0.0.1', 9))"
    refused = repo.call(repo.command("prepare")[0], "-c", trial, "guard", **guarded)
    faults = [] if refused.returncode == 99 else ["the guard is asleep"]
    for name in repo.stages:
        before = repo.bytes_of(name)
        with repo.timings_kept(name):
            repo.remove(name)
            done = repo.call(*repo.command(name), **guarded)
        if done.returncode or repo.bytes_of(name) != before:
            faults.append(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
    figure = f"{len(repo.stages)} stages" + "".join(f"; {fault}" for fault in faults[:3])
    return [row("offline and safe", "no socket, no pickle", figure, not faults)]
