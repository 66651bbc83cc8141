"""Where unfinished work lies, and a name for it that changes with all that its results depend on."""

import hashlib
import json
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
