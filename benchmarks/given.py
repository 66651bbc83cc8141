"""What params.yaml says, every block whole."""

from pathlib import Path
from typing import Any

from alchemist.params.inherit import inherited
from stages.params_file import read_params


def params(folder: Path = Path()) -> dict[str, Any]:
    """params.yaml of the repo, or of a copy of it in `folder`."""
    found: dict[str, Any] = inherited(read_params(folder / "params.yaml"))
    return found
