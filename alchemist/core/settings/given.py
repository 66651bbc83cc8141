"""What params.yaml says, as the stage check passes it on: a section as it stands, or a block checked."""

from pathlib import Path
from typing import Any, TypeVar

from alchemist.core.files import read_sealed
from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, parse

S = TypeVar("S", bound=Settings)
PARAMS = Path("data/params.json")


def section(key: str) -> Any:
    """The value at a dotted key of params.yaml ("" for all of it). Raises Refusal where there is none."""
    if not PARAMS.is_file():
        raise Refusal(f"{PARAMS} is missing; dvc repro runs the stage check, which writes it of params.yaml.")
    value, parent = read_sealed(PARAMS), "params.yaml"
    for part in key.split(".") if key else ():
        if not isinstance(value, dict) or part not in value:
            names = ", ".join(str(name) for name in value) if isinstance(value, dict) else "no keys"
            raise Refusal(f"{key} is missing; {parent} has {names}.")
        value, parent = value[part], part
    return value


def block(kind: type[S], key: str) -> S:
    """The block of params.yaml at a dotted key, checked."""
    return parse(kind, section(key), key)
