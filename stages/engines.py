"""Options of the stages that are passes over the pool: who makes their shards. They change no result."""

from typing import Annotated

import typer

from alchemist.passes.run import Engine

Task = Annotated[int | None, typer.Option(help="number of this process among --of, from 0 on")]
Of = Annotated[int | None, typer.Option(help="processes that share the work", min=1)]
Who = Annotated[Engine, typer.Option("--engine", help="who makes the shards")]
Address = Annotated[str | None, typer.Option(help="of a running Ray cluster, for --engine ray")]
Gpus = Annotated[float, typer.Option(help="of a GPU a task, for --engine ray", min=0)]
