"""The dial `launcher`: the command in front of the stages that train."""

import re
from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.core.shown import shown

PYTHON = "python"  # a process alone
# No character that a shell reads as more than a word: the launcher stands in a command of dvc.yaml.
LAUNCHERS = r"[A-Za-z0-9_./][A-Za-z0-9_./:=,@+ -]*"


def launcher_setting(value: Any) -> str:
    """The dial `launcher`. Raises Refusal where it is no plain command."""
    if not isinstance(value, str) or not re.fullmatch(LAUNCHERS, value):
        raise Refusal(
            f"launcher is {shown(value)}; legal are plain words of a command, as python, torchrun "
            "--nproc-per-node 2 or accelerate launch --num_processes 2."
        )
    return value
