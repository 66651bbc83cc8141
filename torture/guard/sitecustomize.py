"""Before every Python whose PYTHONPATH has this folder: a stage that reaches out or unpickles is ended.

Processes of one pool talk by pickles, and DVC, whose cache of hashes holds some, is no stage.
"""

import os
import sys

# Not bind, by which urllib3 asks whether there is IPv6: nothing leaves the machine.
NETWORK = ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg")
POOLS = ("multiprocessing", "concurrent.futures")


def guard(event: str, args: tuple[object, ...]) -> None:
    """Of a socket between two processes of one machine the address is a path."""
    is_local = bool(args) and isinstance(args[-1], str | bytes | None)
    if (event in NETWORK and not is_local) or (event == "pickle.find_class" and not in_a_pool()):
        os.write(2, f"guard: {event} {args[1:]}\n".encode())
        os._exit(99)  # an exception might be caught


def in_a_pool() -> bool:
    """Whether what is unpickled comes from another process of this pool."""
    frame = sys._getframe(1)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(POOLS):
            return True
        frame = frame.f_back  # type: ignore[assignment]
    return False


if any(word.startswith("stages.") for word in sys.orig_argv) or "guard" in sys.orig_argv:
    sys.addaudithook(guard)
