"""Before every Python whose PYTHONPATH has this folder: a stage that opens a socket or reads a pickle ends.

Processes of one pool talk by pickles in memory, and DVC, whose cache of hashes holds pickles, is no stage.
"""

import pickle
import sys


def guard(event: str, args: tuple[object, ...]) -> None:
    """Of a socket between two processes of one machine the address is a path."""
    is_local = bool(args) and isinstance(args[-1], str | bytes)
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo") and not is_local:
        raise RuntimeError(f"guard: {event} {args[1:]}")


def closed(*_: object, **__: object) -> None:
    """In the place of pickle.load."""
    raise RuntimeError("guard: a pickle is read from a file")


if any(word.startswith("stages.") for word in sys.orig_argv) or "guard" in sys.orig_argv:
    pickle.load = closed
    sys.addaudithook(guard)
