"""The tasks of a pass on a Ray cluster: Ray Core tasks, whose results are files on a disk of all nodes.

A task gives back nothing but whether its shard is there, so a node that dies costs the shards that it had in
flight, and Ray runs those again elsewhere.
"""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

from alchemist.core.process import THREADS
from alchemist.core.refusal import Refusal
from alchemist.passes.shards import Shards, Work

ANSWERS = 10  # seconds in which a cluster takes a connection
IN_FLIGHT = 2  # tasks for each worker that there could be, so that none waits for the driver


def run(
    shards: Shards,
    build: Callable[..., Work],
    arguments: tuple[Any, ...],
    numbers: Sequence[int],
    address: str | None,
    gpus: float,
    tick: Callable[[int], object],
) -> None:
    """Makes the shards of `numbers`. A task takes one core and `gpus` of a GPU.

    `build(*arguments)`, a function of a module, gives what a worker process runs for all of its tasks. Raises
    Refusal where Ray is not installed, the cluster does not answer or has no such node, or a task raises it.
    """
    try:
        import ray
    except ImportError:
        raise Refusal(
            "--engine is ray, which is not installed; pip install -e '.[ray]' brings it, and here is legal."
        ) from None
    if gpus > 1 and not float(gpus).is_integer():
        raise Refusal(f"--gpus is {gpus:g}; legal are shares of a GPU up to 1, and whole numbers.")
    asked = address or os.environ.get("RAY_ADDRESS")
    try:
        host, _, port = (asked or "").rpartition(":")
        if port.isdigit() and "/" not in host:  # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), ANSWERS).close()
        ray.init(
            address=asked, log_to_driver=False, include_dashboard=False if asked is None else None,
            runtime_env={"env_vars": dict.fromkeys(THREADS, "1")}, ignore_reinit_error=True,
        )  # fmt: skip
    except (OSError, ValueError, OverflowError, RuntimeError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise Refusal(f"--address is {asked}, where no Ray cluster can be joined: {told}.") from None
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_make)
    waiting: list[Any] = []
    left = iter(numbers)
    try:
        most_gpus = max((node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"]), default=0)
        if gpus > most_gpus:
            raise Refusal(
                f"--gpus is {gpus:g}, and no node of the cluster has more than {most_gpus:g}; 0 is legal."
            )
        while True:
            most = IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1)))
            for number in left:
                waiting.append(make.remote(shards, build, arguments, number, os.getcwd()))
                if len(waiting) >= most:
                    break
            if not waiting:
                return
            done, waiting = ray.wait(waiting, num_returns=1)
            ray.get(done)
            tick(len(done))
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Refusal) else error from None
    except ray.exceptions.RayError as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise Refusal(
            f"the Ray cluster does not go on: {told}; the same command takes what is left."
        ) from None
    finally:
        ray.shutdown()


def _make(
    shards: Shards, build: Callable[..., Work], arguments: tuple[Any, ...], number: int, where: str
) -> bool:
    """In a worker, which begins in a folder of its own: a pool's paths may be relative to the driver's."""
    os.chdir(where)
    return shards.is_made(number) or shards.make(number, _built(build, arguments))


_HELD: list[tuple[Any, Work]] = []  # what this worker built, for the next task of the same pass


def _built(build: Callable[..., Work], arguments: tuple[Any, ...]) -> Work:
    if not _HELD or _HELD[0][0] != (build, arguments):
        _HELD[:] = [((build, arguments), build(*arguments))]
    return _HELD[0][1]
