"""The table of samplers, and the blocks `selections.NAME` by it.

A sampler is a file of this room, with its class as SAMPLER, and a line here.
"""

from importlib import import_module
from typing import Any, cast

from alchemist.core.settings import legal, parse
from alchemist.pruning.sampler import Sampler

NAMES = (
    "full",
    "random",
    "topk",
    "block",
    "gsample",
    "shift_gsample",
    "interval",
)
SAMPLERS: dict[str, type[Sampler]] = {
    name: cast(type[Sampler], import_module(f"alchemist.pruning.{name}").SAMPLER) for name in NAMES
}


def selection_settings(value: Any, where: str) -> Sampler:
    """The block at `where`, by its sampler.

    Raises Refusal for an unknown sampler, and for a key or a value that the sampler does not take.
    """
    return parse(SAMPLERS[legal.tag(value, where, "sampler", NAMES)], value, where)
