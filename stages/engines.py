"""Of the stages that are passes over the pool: who makes their shards, and who puts them together."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.passes.run import Engine, How, make
from alchemist.passes.shards import Shards, Work

# In what a pass took: a digest of all that it was made of, by which one that comes late knows it.
MARK = "pass"
Task = Annotated[int | None, typer.Option(help="number of this process among --of, from 0 on")]
Of = Annotated[int | None, typer.Option(help="processes that share the work", min=1)]
Who = Annotated[Engine, typer.Option("--engine", help="who makes the shards")]
Address = Annotated[str | None, typer.Option(help="of a running Ray cluster, for --engine ray")]
Gpus = Annotated[float, typer.Option(help="of a GPU a task, for --engine ray", min=0)]


@contextlib.contextmanager
def whole(
    shards: Shards,
    build: Callable[..., Work],
    arguments: tuple[Any, ...],
    pairs: int,
    rows: int,
    how: How,
    name: str,
    is_there: Callable[[], bool],
) -> Iterator[None]:
    """Makes the shards of this process, as `make` does; its block puts those of all together, in one alone.

    Any other of several processes ends here, without an error, and so does one that comes late: `is_there`
    tells that what the block makes is there already. Raises Refusal where one that has all shards to make
    finds others at them. The shards are gone behind the block.
    """
    if not how.is_alone() and is_there():
        print(f"{name}: all is there already")
        raise SystemExit(0)
    if not make(shards, build, arguments, pairs, rows, how, name, print):
        if how.is_alone():
            raise _busy(shards)
        raise SystemExit(0)
    with shards.last() as is_last:
        if not is_last:
            raise _busy(shards) if how.is_alone() else SystemExit(0)
        yield


def is_made(time_out: Path, mark: str, read: Callable[[], object]) -> bool:
    """Whether the pass `mark` was made, as `time_out` says, and `read` finds nothing wrong with it."""
    try:
        if files.read_sealed(time_out).get(MARK) != mark:
            return False
        read()
    except (OSError, Refusal):
        return False
    return True


def _busy(shards: Shards) -> Refusal:
    return Refusal(
        f"{shards.folder} is in use by another process that runs the same work, perhaps one that a killed "
        "dvc left running; wait for it or end it, then run this again."
    )
