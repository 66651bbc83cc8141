"""One ratio that is measured side by side in one run."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """`value` is a median over repeats that alternate; `words` say what stands over what."""

    name: str
    value: float
    goal: str
    words: str
