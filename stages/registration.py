"""What a study has registered, and at which commit: read by the commands that run and judge it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.core.settings import legal
from alchemist.params.check import check
from alchemist.params.registered import decides
from alchemist.params.whole import Params
from stages.params_file import parse_params, read_params
from stages.revision import git

PARAMS, STUDIES, REGISTERED = Path("params.yaml"), Path("reports/studies"), "registered.json"
JUDGED_BY = (
    "stages/looks.py",
    "stages/judge.py",  # which once held it
    "alchemist/core/settings/study.py",
    "alchemist/params/registered.py",
    *(
        f"alchemist/analysis/{name}.py"
        for name in ("equal_cost", "metrics", "outcomes", "registered", "statistics")
    ),
)  # what makes verdicts of figures


def read(name: str) -> tuple[dict[str, Any], Params]:
    """What params.yaml holds, and the same checked, for a study that it names."""
    given = read_params(PARAMS)
    params = check(given)
    legal.one_of("the study", name, params.studies)
    return given, params


def digest(value: Any) -> str:
    """Of a value as JSON holds it, by the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def registrations(name: str) -> list[dict[str, Any]]:
    """All of them, the first one first: commit, study, rule and run of each."""
    path = STUDIES / name / REGISTERED
    found: list[dict[str, Any]] = files.read_json(path)["registrations"] if path.is_file() else []
    return found


def last(name: str) -> dict[str, Any]:
    """The registration in force. Raises Refusal where there is none."""
    if not (found := registrations(name)):
        raise Refusal(
            f"the study {name} is not registered; commit params.yaml, then python -m stages.register {name}."
        )
    return found[-1]


def at_commit(commit: str, name: str) -> dict[str, Any] | None:
    """What decides of a study by params.yaml of a commit; None where it has no such study, or is not here."""
    try:
        text = git("show", f"{commit}:{PARAMS}")
        found: dict[str, Any] = decides(parse_params(text or "", PARAMS), name)
    except (Refusal, KeyError, TypeError, ValueError, AttributeError):  # of other code's params.yaml
        return None
    return found


def code_since(commit: str) -> list[str] | None:
    """The later commits that changed the code which makes verdicts, the last first; None where unknown."""
    told = git("log", "--format=%H %s", f"{commit}..HEAD", "--", *JUDGED_BY)
    return None if told is None else [f"{line[:10]}{line[40:]}" for line in told.splitlines()]
