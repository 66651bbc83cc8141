"""`python -m stages` names every command with what it does, and no file that is none."""

import subprocess
import sys

from tiny import REPO


def test_every_command_is_listed_in_a_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stages"], cwd=REPO, capture_output=True, text=True, check=True
    )
    told = {line.split()[2]: line.split(maxsplit=3)[3] for line in done.stdout.splitlines()}
    commands = {
        f"stages.{path.stem}"
        for path in (REPO / "stages").glob("*.py")
        if "__main__" in path.read_text() and path.stem != "__main__"
    }
    assert told.keys() == commands
    assert all(len(said.split()) > 3 for said in told.values())
