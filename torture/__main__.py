"""python -m torture [PART ...] [--out FILE] [--folder FOLDER]: all parts or some, two at a time."""

import argparse
import functools
import os
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist.core import files
from torture import anywhere, damage, fuzz, kills, memory, offline, params
from torture.repo import Repo, made

Rows = list[dict[str, Any]]
# By name: what needs no grid, and what attacks a small grid that was run once.
ALONE: dict[str, Callable[[Path], Rows]] = {"fuzz": fuzz.run, "memory": memory.run, "params": params.run}
OF_A_GRID: dict[str, Callable[[Repo, Path], Rows]] = {
    "flips": damage.flips,
    "anywhere": anywhere.run,
    "offline": offline.run,
    "states": damage.states,
    "disks": damage.disks,
    "orphan": kills.orphan,
    "twice": kills.twice,
    "cache": damage.cache,
}
KILLS = "kills"  # a task a stage
PARTS = (*ALONE, *OF_A_GRID, KILLS)


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
    others = pd.read_csv(asked.out) if asked.out is not None and asked.out.is_file() else pd.DataFrame()
    if len(others):
        others = others[~others["part"].isin(parts)]
    started, rows = time.monotonic(), list[dict[str, Any]]()
    with ThreadPoolExecutor(2) as executor:  # nearly all of it is done by processes
        tasks = {executor.submit(task): part for part, task in _tasks(parts, executor, folder)}
        for done in as_completed(tasks):
            if done.exception():
                executor.shutdown(cancel_futures=True)
            for row in done.result():
                word = "holds" if row["holds"] else "FAILS"
                print(f"{word}  {row['promise']}: {row['case']}: {row['figure']}", flush=True)
                rows.append({"part": tasks[done], **row})
            print(f"{tasks[done]}: {(time.monotonic() - started) / 60:.1f} min since the start", flush=True)
            if asked.out is not None:
                write(asked.out, others, rows)
    failed = sum(not row["holds"] for row in rows)
    print(f"{len(rows)} cases, {failed} failed")
    raise SystemExit(bool(failed))


def _tasks(
    parts: Sequence[str], executor: ThreadPoolExecutor, folder: Path
) -> list[tuple[str, Callable[[], Rows]]]:
    """By part. The grid is made meanwhile, beside what needs none of it."""
    needs_grid = {*OF_A_GRID, KILLS} & {*parts}
    base = executor.submit(made, folder / "base") if needs_grid else None

    def attack(by: Callable[..., Rows], *words: Any) -> Rows:
        assert base is not None
        return by(base.result(), *words)

    tasks = [(part, functools.partial(run, folder / part)) for part, run in ALONE.items()]
    tasks += [(part, functools.partial(attack, run, folder / part)) for part, run in OF_A_GRID.items()]
    tasks += [(KILLS, functools.partial(attack, kills.run, folder / KILLS, name)) for name in kills.STAGES]
    return [task for task in tasks if task[0] in parts]


def write(path: Path, others: pd.DataFrame, rows: Rows) -> None:
    """The rows so far, behind those of other parts."""
    table = pd.DataFrame(rows)
    table["hardware"] = f"{os.cpu_count()} cores of {platform.machine()}, Python {platform.python_version()}"
    with files.whole(path) as draft:
        pd.concat([others, table]).to_csv(draft, index=False)


if __name__ == "__main__":
    main()
