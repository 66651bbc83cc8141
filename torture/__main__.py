"""python -m torture [PART ...] [--out FILE] [--folder FOLDER]: all parts or some, two at a time."""

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.core import files
from torture import anywhere, damage, fuzz, kills, memory, offline, params
from torture.repo import Repo, made

Rows = list[dict[str, Any]]
# By name: what attacks a small grid that was run once, and what needs none.
OF_A_GRID: dict[str, Callable[[Repo, Path], Rows]] = {
    "kills": kills.run,
    "flips": damage.flips,
    "anywhere": anywhere.run,
    "offline": offline.run,
    "states": damage.states,
    "orphan": kills.orphan,
    "disks": damage.disks,
    "twice": kills.twice,
    "cache": damage.cache,
}
ALONE: dict[str, Callable[[Path], Rows]] = {"memory": memory.run, "params": params.run, "fuzz": fuzz.run}
PARTS = (*OF_A_GRID, *ALONE)


def main() -> None:
    """Exits with 1 where a promise did not hold."""
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="CSV to write; rows of other parts in it stay")
    parser.add_argument("--folder", type=Path, help="where the copies lie; they are resumed")
    asked = parser.parse_args()
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"{unknown[0]} is no part; legal are {', '.join(PARTS)}")
    folder = asked.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    print(f"copies lie in {folder}")
    parts = asked.parts or PARTS
    base = made(folder / "base") if set(parts) & set(OF_A_GRID) else Repo(folder)

    def attack(part: str) -> tuple[float, Rows]:
        started = time.monotonic()
        found = OF_A_GRID[part](base, folder / part) if part in OF_A_GRID else ALONE[part](folder / part)
        return time.monotonic() - started, [{"part": part, **row} for row in found]

    rows: Rows = []
    with ThreadPoolExecutor(2) as executor:  # nearly all of it is done by processes
        waiting = {executor.submit(attack, part): part for part in parts}
        for done in as_completed(waiting):
            part, (seconds, found) = waiting[done], done.result()
            for row in found:
                word = "holds" if row["holds"] else "FAILS"
                print(f"{word}  {row['promise']}: {row['case']}: {row['figure']}")
            print(f"{part}: {seconds:.0f} s", flush=True)
            rows += found
            if asked.out is not None:
                write(asked.out, found)
    failed = sum(not row["holds"] for row in rows)
    print(f"{len(rows)} cases, {failed} failed")
    raise SystemExit(bool(failed))


def write(path: Path, rows: Rows) -> None:
    """Puts the rows of a part in the place of those that the table has of it."""
    table = pd.DataFrame(rows)
    table["hardware"] = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}"
    if path.is_file():
        before = pd.read_csv(path)
        table = pd.concat([before[~before["part"].isin(set(table["part"]))], table])
    with files.whole(path) as draft:
        table.to_csv(draft, index=False)


if __name__ == "__main__":
    main()
