"""The verbs: one command a stage. Paths and params enter here and nowhere else.

What stands in this file is no dep of any stage: it changes no result.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036  before any syntax that an older one stumbles over
    sys.exit("error: this is Python {}.{}; 3.11, 3.12 and 3.13 are legal.".format(*sys.version_info))

from alchemist.core import process

process.prepare()  # before NumPy and torch are loaded

import functools  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, ParamSpec  # noqa: E402

import typer  # noqa: E402

from alchemist.core.files import write_json  # noqa: E402
from alchemist.core.refusal import Refusal  # noqa: E402
from alchemist.core.shown import shown  # noqa: E402

LETTERS = 2000  # of a sentence that refuses: it may name columns or keys of a file that came from anywhere

P = ParamSpec("P")


def stage(run: Callable[P, dict[str, Any] | None]) -> None:
    """Runs a stage's function as a command; a person's mistake ends it with one sentence.

    What a run took goes to its option `time_out`, apart from the results, whose bytes it would change: its
    wall-clock seconds, and what the function returns (memory, hardware, FLOPs, seconds of all tries).
    """

    @functools.wraps(run)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        started = time.perf_counter()
        try:
            costs = run(*args, **kwargs)
            if isinstance(path := kwargs.get("time_out"), Path):
                write_json(path, {"seconds": time.perf_counter() - started, **(costs or {})})
        except Refusal as error:
            typer.echo(f"error: {shown(str(error), LETTERS)}", err=True)
            raise SystemExit(1) from None
        except FileNotFoundError as error:
            name = error.filename or error
            typer.echo(f"error: {name} is missing; dvc repro runs the stage that writes it.", err=True)
            raise SystemExit(1) from None

    typer.run(told)
