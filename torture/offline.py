"""The whole grid with every socket closed, and with no pickle read from a file."""

from pathlib import Path
from typing import Any

from torture.repo import Repo, copied

# Before every Python of the run, which ends on any of these. Processes of a pool talk by pickles in memory.
GUARD = """
import pickle, sys

def guard(event, args):
    # Of a socket between two processes here the address is a path.
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo") and not isinstance(args[-1], (str, bytes)):
        raise RuntimeError(f"torture: {event} {args[1:]}")

def closed(*_, **__):
    raise RuntimeError("torture: a pickle is read from a file")

pickle.load = closed
sys.addaudithook(guard)
"""


def run(base: Repo, folder: Path) -> list[dict[str, Any]]:
    """One row: all stages, each run anew under the guard."""
    repo = copied(base, folder / "offline")
    (repo.folder / "guard").mkdir(exist_ok=True)
    (repo.folder / "guard/sitecustomize.py").write_text(GUARD, encoding="utf-8")
    guarded = {"PYTHONPATH": f"{repo.folder}/guard:{repo.folder}"}
    trial = "import socket; socket.create_connection(('127.0.0.1', 9))"
    refused = repo.call(repo.command("prepare")[0], "-c", trial, **guarded)
    faults = [] if "torture: socket" in refused.stderr else ["the guard is asleep"]
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
