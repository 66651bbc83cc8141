"""A pass over a pool as a list of tasks, a task a shard: each writes one table and its mark, whole.

Tasks know nothing of one another. So a pass is done by one process, by several that were started by hand,
by torchrun or a SLURM array by their number, or by Ray, all on one folder that they share; whatever died is
made by whoever runs the same command again. The folder of a pass:

    pass.json               what the shards are made of: another pass is refused
    00000.parquet           the table of task 0
    00000.json              its mark: hash and rows of that table
    .taken/00000            a lock, held by who makes the shard
"""

import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from alchemist.core import files, tables
from alchemist.core.refusal import Refusal

PASS, TAKEN = "pass.json", ".taken"
# Number and count of a process among its like, as launchers tell them, and the first number.
LAUNCHERS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN"),
    ("RANK", "WORLD_SIZE", ""),  # torchrun, accelerate launch
    ("SLURM_PROCID", "SLURM_NTASKS", ""),  # srun
)
Work = Callable[[int], pd.DataFrame]


@dataclass(frozen=True)
class Shards:
    """The shards of one pass in a folder; `made_of` is all that their bytes depend on."""

    folder: Path
    made_of: dict[str, Any]
    count: int

    def begin(self) -> None:
        """Makes the folder, or takes it as others left it. Raises Refusal for one of another pass."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, value = self.folder / PASS, {**self.made_of, "shards": self.count}
        if not path.is_file():
            _put(path, lambda draft: draft.write_text(files.json_text(files.sealed(value)), encoding="utf-8"))
        there = files.read_sealed(path, f"remove {self.folder} and run this again")
        if there != value:
            other = next(key for key in sorted({*there, *value}) if there.get(key) != value.get(key))
            raise Refusal(
                f"{self.folder} holds shards of another pass: {other} is {there.get(other)!r} there and "
                f"{value.get(other)!r} here; another --out is legal, and so is removing that folder."
            )

    def table(self, number: int) -> Path:
        """Where a task's table lies."""
        return self.folder / f"{number:05d}.parquet"

    def is_made(self, number: int) -> bool:
        """Whether a shard is there as its mark says. Half a one counts as none."""
        path = self.table(number)
        try:
            mark = files.read_sealed(path.with_suffix(".json"))
            return bool(mark["sha256"] == files.sha256(path))
        except (OSError, Refusal):
            return False

    def make(self, number: int, work: Work) -> bool:
        """Makes a shard where it is not made yet; False where another process of this machine is at it."""
        if self.is_made(number):
            return True
        (self.folder / TAKEN).mkdir(exist_ok=True)
        with contextlib.ExitStack() as after:
            try:
                handle = files.take(self.folder / TAKEN / f"{number:05d}", os.O_RDWR | os.O_CREAT)
            except BlockingIOError:
                return False
            after.callback(files.leave, handle)
            found = pa.Table.from_pandas(work(number), preserve_index=False)
            found = found.replace_schema_metadata({tables.ROWS: str(found.num_rows)})
            path = self.table(number)
            # Two machines may make one shard at once: the same bytes, each under a name of its own.
            _put(path, lambda draft: pq.write_table(found, draft, write_page_checksum=True))
            mark = files.sealed({"sha256": files.sha256(path), "rows": found.num_rows})
            _put(
                path.with_suffix(".json"),
                lambda draft: draft.write_text(files.json_text(mark), encoding="utf-8"),
            )
        return True

    def missing(self) -> list[int]:
        """Numbers of the shards that are not made."""
        return [number for number in range(self.count) if not self.is_made(number)]

    def joined(self, out: Path) -> bool:
        """One table of all shards in their order, a shard in memory at a time. False, and nothing done, where
        some are not made."""
        if self.missing():
            return False
        rows = sum(pq.read_metadata(self.table(number)).num_rows for number in range(self.count))
        schema = pq.read_schema(self.table(0)).with_metadata({tables.ROWS: str(rows)})
        with files.whole(out) as draft, pq.ParquetWriter(draft, schema, write_page_checksum=True) as writer:
            for number in range(self.count):
                part = pq.read_table(self.table(number), page_checksum_verification=True)
                writer.write_table(part.replace_schema_metadata(schema.metadata))
        shutil.rmtree(self.folder / TAKEN, ignore_errors=True)
        return True


def mine(count: int, environment: Mapping[str, str], number: int | None, of: int | None) -> Iterator[int]:
    """The tasks of one process: those that its number or its launcher gives it, or all.

    Raises Refusal where only one of `number` and `of` is given, or the number is not below `of`.
    """
    if (number is None) != (of is None):
        raise Refusal("--task and --of go together: the number of this process, from 0 on, and how many.")
    if number is None or of is None:
        number, of = 0, 1
        for own, total, first in LAUNCHERS:
            if own in environment and total in environment:
                number, of = int(environment[own]) - int(environment.get(first, 0)), int(environment[total])
                break
    if not 0 <= number < of:
        raise Refusal(f"--task is {number} of {of}; legal are 0 to {of - 1}.")
    return iter(range(number, count, of))


def _put(path: Path, write: Callable[[Path], object]) -> None:
    """A file that appears whole, by whichever of several writers on several machines."""
    draft = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.part")
    try:
        write(draft)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
