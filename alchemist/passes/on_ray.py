"""The tasks of a pass on a Ray cluster: Ray Core tasks, whose results are files on a disk of all nodes.

A task gives back nothing but whether its shard is there, so a node that dies costs the shards that it had in
flight, and Ray runs those again elsewhere.
"""

import functools
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
    threads = dict.fromkeys(THREADS, "1")
    try:
        host, _, port = (address or "").rpartition(":")
        if port.isdigit() and "/" not in host:  # Ray itself would ask for minutes
            socket.create_connection((host, int(port)), ANSWERS).close()
        ray.init(
            address=address, log_to_driver=False, include_dashboard=False if address is None else None,
            runtime_env={"env_vars": threads}, ignore_reinit_error=True,
        )  # fmt: skip
    except (OSError, ValueError, RuntimeError) as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise Refusal(f"--address is {address}, where no Ray cluster can be joined: {told}.") from None
    make = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=-1)(_make)
    waiting: list[Any] = []
    left = iter(numbers)
    try:
        if gpus and ray.cluster_resources().get("GPU", 0) < gpus:
            raise Refusal(f"--gpus is {gpus:g}, and no node of the cluster has as much of a GPU; 0 is legal.")
        while True:
            most = IN_FLIGHT * max(1, int(ray.cluster_resources().get("CPU", 1)))
            for number in left:
                waiting.append(make.remote(shards, build, arguments, number))
                if len(waiting) >= most:
                    break
            if not waiting:
                return
            done, waiting = ray.wait(waiting, num_returns=1)
            ray.get(done)
            tick(len(done))
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Refusal) else error from None
    finally:
        ray.shutdown()


def _make(shards: Shards, build: Callable[..., Work], arguments: tuple[Any, ...], number: int) -> bool:
    """In a worker."""
    if shards.is_made(number):
        return True
    return shards.make(number, _built(os.getpid(), build, arguments))


@functools.cache
def _built(process: int, build: Callable[..., Work], arguments: tuple[Any, ...]) -> Work:
    return build(*arguments)
