"""The cases of ./study, and the block of a made-up registered study."""

import copy
from pathlib import Path
from typing import Any

from alchemist.core.settings import parse
from alchemist.core.settings.study import StudySettings
from stages import register


def cases(root: Path) -> list[str]:
    """Labels of the script's cases, as "table1" and "pools | icons"."""
    return register.cases(root / "study")


def names(root: Path) -> list[str]:
    """The studies of the script."""
    return [name for case in cases(root) for name in case.split(" | ")]


BLOCK: dict[str, Any] = {
    "question": "Is it so?",
    "pools": {"here": {}, "there": {}},
    "scale": "tiny",
    "models": ["xs"],
    "ratios": [0.5],
    "seeds": {"first": 100, "count": 8, "part": 4},
    "looks": [8],
    "metric": "fd",
    "point": "equal_epochs",
    "margins": {"fd": 5.0, "nll": 0.02},
    "primary": "A",
    "claims": {
        "A": {"says": "One beats two.", "arm": "one", "against": "two"},
        "B": {"says": "One beats all.", "arm": "one", "against": "full"},
    },
}


def study(**changes: Any) -> StudySettings:
    return parse(StudySettings, copy.deepcopy(BLOCK) | changes, "studies.s")
