"""What params.yaml says, every block whole; and how large what is measured is.

Without the room `stages`, whose import sets what keeps memory: plain contestants run without it.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import yaml

from alchemist.params.inherit import inherited

T = TypeVar("T")
SMALL = "ALCHEMIST_BENCHMARKS_SMALL"  # set by `python -m benchmarks --small`, for its own processes too


def params(folder: Path = Path()) -> dict[str, Any]:
    """params.yaml of the repo, or of a copy of it in `folder`."""
    found: dict[str, Any] = inherited(yaml.safe_load((folder / "params.yaml").read_text()))
    return found


def sized(usual: T, small: T) -> T:
    """What figures are measured at, or what is enough to see that they can be."""
    return small if os.environ.get(SMALL) else usual
