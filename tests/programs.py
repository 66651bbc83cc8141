"""Programs beside Python that some tests want, and ports for servers."""

import contextlib
import os
import socket

import pytest


def needed(found: str | None, missing: str, variable: str) -> str:
    """What was found of a program; without it a test is left out, and fails where a variable asks for it."""
    if found is None and os.environ.get(variable):
        pytest.fail(f"{missing}, and {variable} asks for it")
    return found if found is not None else pytest.skip(missing)


def free_ports(count: int) -> list[int]:
    """Of this machine; asked for at once, or the system could give one twice."""
    with contextlib.ExitStack() as bound:
        sockets = [bound.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
