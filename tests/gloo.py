"""Several processes that train together on this machine, as a launcher starts them, but forked: no library is
loaded again."""

import multiprocessing
import os
import pickle
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accelerate  # noqa: F401  which `world.join` loads; once here, not in every process
import torch
from programs import free_ports

from alchemist.core import world

FORK = multiprocessing.get_context("fork")


def together(count: int, folder: Path, work: Callable[[], Any]) -> list[Any]:
    """What `work` gives in each of `count` processes; of one, in this process itself."""
    if count == 1:
        return [work()]
    started = start(count, folder, work)
    for process in started:
        process.join(120)
    told = [folder / f"error-{rank}.txt" for rank in range(count)]
    said = [path.read_text() for path in told if path.is_file()]
    assert not said, said[0]
    assert [process.exitcode for process in started] == [0] * count
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(count)]


def start(count: int, folder: Path, work: Callable[[], Any]) -> list[Any]:
    """The processes, begun."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    processes = [FORK.Process(target=_run, args=(rank, count, port, folder, work)) for rank in range(count)]
    for process in processes:
        process.start()
    return processes


def _run(rank: int, count: int, port: int, folder: Path, work: Callable[[], Any]) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }  # fmt: skip
    try:
        world.join(torch.device("cpu"))
        assert world.count() == count
        found = work()
        (folder / f"result-{rank}").write_bytes(pickle.dumps(found))
    except BaseException:
        (folder / f"error-{rank}.txt").write_text(traceback.format_exc())
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)
