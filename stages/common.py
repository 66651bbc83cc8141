"""What every stage does alike: read its sections of params.yaml, tell mistakes in a sentence."""

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import typer

from alchemist.core.files import read_json, write_json
from alchemist.core.refusal import Refusal
from alchemist.settings import Settings, parse

P = ParamSpec("P")
S = TypeVar("S", bound=Settings)
PARAMS = Path("data/params.json")  # what the stage check has read of params.yaml


def section(key: str) -> Any:
    """The value at a dotted key of params.yaml ("" for all of it). Raises Refusal where there is none."""
    if not PARAMS.is_file():
        raise Refusal(f"{PARAMS} is missing; dvc repro runs the stage check, which writes it of params.yaml.")
    value, parent = read_json(PARAMS), "params.yaml"
    for part in key.split(".") if key else ():
        if not isinstance(value, dict) or part not in value:
            names = ", ".join(str(name) for name in value) if isinstance(value, dict) else "no keys"
            raise Refusal(f"{key} is missing; {parent} has {names}.")
        value, parent = value[part], part
    return value


def block(kind: type[S], key: str) -> S:
    """The block of params.yaml at a dotted key, checked."""
    return parse(kind, section(key), key)


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
            typer.echo(f"error: {error}", err=True)
            raise SystemExit(1) from None
        except FileNotFoundError as error:
            name = error.filename or error
            typer.echo(f"error: {name} is missing; dvc repro runs the stage that writes it.", err=True)
            raise SystemExit(1) from None

    typer.run(told)
