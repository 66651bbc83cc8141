"""Scripts of bash, as a page of the docs shows them."""

import os
import subprocess
import sys
from pathlib import Path

GIT = {
    f"GIT_{who}_{what}": "test@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
}


def said(folder: Path, script: str, *programs: Path, **told: str) -> str:
    """What a script says that runs in a folder; `programs` are folders that come first in its PATH."""
    path = ":".join([*map(str, programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=False,
        env={**outer, **GIT, "PATH": path, "DVC_NO_ANALYTICS": "1", **told},
    )  # fmt: skip
    out = done.stdout + done.stderr
    assert done.returncode == 0, out[-3000:]
    return out
