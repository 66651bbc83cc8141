"""What params.yaml says, every block whole.

Without the room `stages`, whose import sets what keeps memory: plain contestants run without it.
"""

from pathlib import Path
from typing import Any

import yaml

from alchemist.params.inherit import inherited


def params(folder: Path = Path()) -> dict[str, Any]:
    """params.yaml of the repo, or of a copy of it in `folder`."""
    found: dict[str, Any] = inherited(yaml.safe_load((folder / "params.yaml").read_text()))
    return found
