"""Who makes the shards of a pass: this process, its share of them, or a Ray cluster."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alchemist.core import progress
from alchemist.core.refusal import Refusal
from alchemist.passes import on_ray
from alchemist.passes.shards import PASS, Shards, Work, mine

ROWS = 16_384  # of a pool's index a shard, where nobody says otherwise


class Engine(StrEnum):
    """Who runs the tasks."""

    HERE = "here"  # this process, or its share where a launcher or a number gives it one
    RAY = "ray"  # the nodes of a Ray cluster


@dataclass(frozen=True)
class How:
    """What a person says of it on the command line."""

    engine: Engine = Engine.HERE
    task: int | None = None  # number of this process among `of`
    of: int | None = None
    address: str | None = None  # of a Ray cluster
    gpus: float = 0.0  # of a task on it

    def numbers(self, count: int) -> range:
        """The tasks of this process. Ray shares them out itself, whatever launcher its driver is behind."""
        return mine(count, {} if self.engine is Engine.RAY else os.environ, self.task, self.of)

    def is_alone(self) -> bool:
        """Whether no other process was started for the same pass, as far as a person or a launcher says."""
        is_of_array = self.engine is not Engine.RAY and "SLURM_ARRAY_TASK_ID" in os.environ
        return self.numbers(2) == range(2) and not is_of_array

    def share(self, cores: int) -> int:
        """Of the cores of this machine those for one process, of a launcher's several here; one under Ray."""
        here = os.environ.get("LOCAL_WORLD_SIZE", "")
        several = int(here) if here.isdigit() and int(here) else 1
        return 1 if self.engine is Engine.RAY else max(1, cores // several)


def make(
    shards: Shards,
    build: Callable[..., Work],
    arguments: tuple[Any, ...],
    total: int,
    rows: int,
    how: How,
    name: str,
    say: Callable[[str], object],
) -> bool:
    """Makes the shards that are this process's; whether those of all are there now.

    `build(*arguments)`, a function of a module, gives the work; here it gets as its last argument what hears
    of pairs that are done. A shard is `rows` of `total` pairs. `say` gets what a person should read. Raises
    Refusal where the folder is of another pass.
    """
    if not total:
        raise Refusal(f"{name}: the pool has no pairs; one is the least.")
    numbers = how.numbers(shards.count)
    say(f"{name}: {len(numbers)} of {shards.count} shards in {shards.folder}")
    todo = [number for number in numbers if not shards.is_made(number)]
    if not todo or how.engine is Engine.RAY:
        shards.begin()
    if todo and how.engine is Engine.RAY:
        with progress.bar(total=len(todo), unit="shard", desc=name) as bar:
            on_ray.run(shards, build, arguments, todo, how.address, how.gpus, bar.update)
    elif todo:
        pairs = sum(min(rows, total - number * rows) for number in todo)
        with progress.bar(total=pairs, unit="pair", desc=name) as bar:
            work = build(*arguments, bar.update)  # which may be refused, and then leaves nothing
            shards.begin()
            for number in todo:
                if not (shards.folder / PASS).is_file():  # all made, put together and cleared by another
                    break
                shards.make(number, work)  # one that another process is at is left to it
    missing = len(shards.missing())
    if not (shards.folder / PASS).is_file():
        say(f"{name}: another process made the last shard")
        return False
    if missing:
        say(f"{missing} of {shards.count} shards are left to other processes, or to this command again")
    return not missing
