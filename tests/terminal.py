"""A terminal for a command, and what it wrote there."""

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

REPO = Path(__file__).parents[1]


def on_terminal(code: str, columns: int = 100, **environment: str) -> tuple[int, str]:
    """Exit status of some Python whose output and errors are a terminal, and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    around = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPO, stdin=theirs, stdout=theirs, stderr=theirs,
        env={**around, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # EIO: its other end is closed
        while part := os.read(ours, 65536):
            written += part
    os.close(ours)
    return process.wait(), written.decode()
