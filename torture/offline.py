"""The whole grid with every socket closed, and with no pickle read from a file."""

from pathlib import Path
from typing import Any

from torture.repo import HERE, Repo, copied


def run(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """One row: all stages, each run anew under the guard."""
    repo = copied(base, folder / "offline")
    guarded = {"PYTHONPATH": f"{HERE}/torture/guard:{repo.folder}"}
    trial = "import socket; socket.create_connection(('127.0.0.1', 9))"
    refused = repo.call(repo.command("prepare")[0], "-c", trial, "guard", **guarded)
    faults = [] if refused.returncode == 99 else ["the guard is asleep"]
    for name in repo.stages:
        before = repo.bytes_of(name)
        timings = {path: path.read_bytes() for path in repo.outs(name) if "timings" in path.parts}
        repo.remove(name)
        done = repo.call(*repo.command(name), **guarded)
        for path, content in timings.items():  # which the report tells
            path.write_bytes(content)
        if done.returncode or repo.bytes_of(name) != before:
            faults.append(f"{name}: {done.stderr.strip().splitlines()[-1:]}")
    figure = f"{len(repo.stages)} stages" + "".join(f"; {fault}" for fault in faults[:3])
    return [
        {"promise": "offline and safe", "case": "no socket, no pickle", "figure": figure, "holds": not faults}
    ]
