"""The verbs: one command a stage. Paths and params enter here and nowhere else.

What stands in this file is no dep of any stage: it changes no result.
"""

import signal
import sys

if sys.argv[0] == "-m":  # of `python -m stages.NAME`: who stops it while libraries load sees no traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)
elif "--multiprocessing-fork" in getattr(sys, "orig_argv", ()):  # a worker of one, which its parent ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)

if sys.version_info < (3, 11):  # noqa: UP036  before any syntax that an older one stumbles over
    sys.exit("error: this is Python {}.{}; 3.11, 3.12 and 3.13 are legal.".format(*sys.version_info))

from alchemist.core import process

process.prepare()  # before NumPy and torch are loaded

import errno  # noqa: E402
import functools  # noqa: E402
import io  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, ParamSpec  # noqa: E402

import typer  # noqa: E402

from alchemist.core.files import sealed, write_json  # noqa: E402
from alchemist.core.one_line import one_line  # noqa: E402
from alchemist.core.refusal import Refusal  # noqa: E402

LETTERS = 2000  # of a sentence that refuses: it may name columns or keys of a file that came from anywhere

P = ParamSpec("P")
FULL = re.compile(r"No space left on device|\d+ requested and \d+ written")
PEER = re.compile(r"Connection (closed|reset) by peer|ncclRemoteError|Socket closed")
MISTAKE = 2  # exit code of what a person has to mend, as that of a wrong option


def stage(run: Callable[P, dict[str, Any] | None]) -> None:
    """Runs a stage's function as a command; a person's mistake ends it with one sentence and exit code 2.

    What a run took goes to its option `time_out`, apart from the results, whose bytes it would change: its
    wall-clock seconds, the most memory that this process or a worker of it held (bytes; of a GPU where the
    function returns that), and what else the function returns (hardware, FLOPs, seconds of all tries). Of
    the processes of a launcher that one writes it which returns anything.
    """

    @functools.wraps(run)
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        started = time.perf_counter()
        if isinstance(sys.stdout, io.TextIOWrapper):  # a log has every line when it is said
            sys.stdout.reconfigure(line_buffering=True)
        try:
            costs = run(*args, **kwargs)
            is_writer = costs is not None or os.environ.get("RANK", "0") == "0"
            if isinstance(path := kwargs.get("time_out"), Path) and is_writer:
                own = {"seconds": time.perf_counter() - started, "peak_bytes": process.peak()}
                write_json(path, sealed({**own, **(costs or {})}))
        except Refusal as error:
            _tell_error(str(error))
            raise SystemExit(MISTAKE) from None
        except KeyboardInterrupt:
            raise _stopped() from None
        except Exception as error:
            if asked_to_stop:  # within torch's C++, which makes a RuntimeError of it
                raise _stopped() from None
            if (said := outside(error)) is None:
                raise
            _tell_error(said)
            raise SystemExit(1) from None
        finally:  # libraries clean up behind it, in which a KeyboardInterrupt would be a traceback
            for how in (signal.SIGINT, signal.SIGTERM):
                signal.signal(how, signal.SIG_DFL)

    own, asked_to_stop = os.getpid(), list[bool]()

    def stop(*_: object) -> None:
        if os.getpid() != own:  # a worker, whose end is none to speak of
            os._exit(128 + signal.SIGTERM)
        asked_to_stop.append(True)
        raise KeyboardInterrupt

    for how in (signal.SIGINT, signal.SIGTERM):  # so that drafts are removed then, too
        signal.signal(how, stop)
    typer.run(told)


def _tell_error(said: str) -> None:
    """A sentence on standard error; its first word is red on a terminal, or one that is behind a pipe."""
    word = typer.style("error:", fg="red", bold=True)
    asked = {"NO_COLOR": False, "FORCE_COLOR": True}
    colour = next((is_on for name, is_on in asked.items() if os.environ.get(name)), None)
    typer.echo(f"{word} {one_line(said, LETTERS)}", err=True, color=colour)


def _stopped() -> SystemExit:
    typer.echo("stopped; the same command again goes on from what it last saved.", err=True)
    return SystemExit(130)


def outside(error: Exception) -> str | None:
    """The sentence for what the machine has not, a file or room on a disk or in memory, or another process of
    a launcher; None for all else."""
    told = str(error)
    if PEER.search(told) and os.environ.get("WORLD_SIZE", "1") != "1":
        return "another of the processes ended before this one; what it said tells why."
    if isinstance(error, FileNotFoundError):
        return f"{error.filename or error} is missing; dvc repro makes what a stage writes."
    # Libraries have errors of their own for a disk that is full.
    if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or FULL.search(told):
        return "the disk is full; what was saved is whole, so make room and run the same command again."
    if isinstance(error, MemoryError) or "out of memory" in told.lower():
        return (
            "memory is full; a smaller batch or chunk in params.yaml takes less of it, and so does ending "
            "other programs."
        )
    if isinstance(error, OSError) and error.errno is not None:
        name = f"{error.filename} cannot" if error.filename else "a file cannot"
        return f"{name} be read or written: {error.strerror}."
    return None
