"""The dial `device`: where the networks run."""

import re
from typing import Any

from alchemist.core.refusal import Refusal
from alchemist.core.shown import shown

DEVICES = r"auto|cpu|cuda(:\d+)?"


def device_setting(value: Any) -> str:
    """The dial `device`. Raises Refusal where it names no device."""
    if not isinstance(value, str) or not re.fullmatch(DEVICES, value):
        raise Refusal(f"device is {shown(value)}; legal values are auto, cpu, cuda and cuda:0, cuda:1, ….")
    return value
