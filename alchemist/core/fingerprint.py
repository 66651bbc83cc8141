"""Where unfinished work lies, a name for it that changes with all that its results depend on, and a digest of
ids."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import alchemist

SCRATCH = Path(".scratch")  # from the repo's folder on; what lies there is no result


def fingerprint(**facts: Any) -> str:
    """A digest of the facts and of the package's source files."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    for path in sorted(Path(alchemist.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def of_ids(ids: Iterable[str]) -> str:
    """sha256 of ids, whatever their order and the file that holds them: sorted, each as a line of JSON."""
    digest = hashlib.sha256()
    for one in sorted(ids):
        digest.update(json.dumps(one).encode() + b"\n")
    return digest.hexdigest()
