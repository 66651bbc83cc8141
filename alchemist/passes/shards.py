"""A pass over a pool as a list of tasks, a task a shard: each writes one table and its mark, whole.

What a task makes that is no table it leaves in a folder with a manifest, beside the table.

Tasks know nothing of one another. So a pass is done by one process, by several that were started by hand,
by torchrun or a SLURM array by their number, or by Ray, all on one folder that they share; whatever died is
made by whoever runs the same command again. The folder of a pass:

    pass.json               what the shards are made of: another pass is refused
    00000.parquet           the table of task 0
    00000/                  what else it left, if anything
    00000.json              its mark: rows of that table, and hashes
    .taken/00000            a lock, held by who makes the shard, and the seconds that it took
"""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from alchemist.core import files, tables
from alchemist.core.refusal import Refusal
from alchemist.core.siphash import hashes

PASS, TAKEN, LAST, ALONE = "pass.json", ".taken", "last", ".alone"
SORTED, EACH = 1 << 20, 1024  # rows that are sorted at once; of so many one tells where ranges begin
OF = "pass"  # in the metadata of the joined table
# Number and count of a process among its like, as torchrun, accelerate launch and srun tell them.
# SLURM_NTASKS also stands in the script of a job, where one process runs and its number is 0.
LAUNCHERS = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"))
_ARRAY = ("ID", "COUNT", "MIN", "MAX")
# The table of a task, from its number; what else it makes it leaves in the empty folder that it is given.
Work = Callable[[int, Path], pd.DataFrame]


@dataclass(frozen=True)
class Shards:
    """The shards of one pass in a folder, tables of one schema. `made_of`: what their bytes depend on."""

    folder: Path
    made_of: dict[str, Any]
    count: int
    schema: pa.Schema

    @property
    def value(self) -> dict[str, Any]:
        """What the pass is: what stands in pass.json."""
        return {**self.made_of, "shards": self.count}

    @property
    def digest(self) -> str:
        """Of `value`, by which marks and the joined table are known as this pass's."""
        return hashlib.sha256(files.json_text(self.value).encode()).hexdigest()

    def begin(self) -> None:
        """Makes the folder, or takes it as others left it. Raises Refusal for one of another pass."""
        (self.folder / TAKEN).mkdir(parents=True, exist_ok=True)
        path, value = self.folder / PASS, self.value
        if not path.is_file():
            _put(path, lambda draft: _write(draft, value), first=True)
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

    def beside(self, number: int) -> Path:
        """Where lies what a task left beside its table."""
        return self.folder / f"{number:05d}"

    def is_made(self, number: int) -> bool:
        """Whether a shard of this pass is there as its mark says. Half a one counts as none."""
        path, beside = self.table(number), self.beside(number)
        try:
            mark = files.read_sealed(path.with_suffix(".json"))
            if mark.get("pass") != self.digest or mark.get("sha256") != files.sha256(path):
                return False
            if mark.get("beside") is not None:
                files.check_manifest(beside)
                return bool(mark["beside"] == files.sha256(beside / files.MANIFEST))
            return True
        except (OSError, Refusal):
            return False

    def make(self, number: int, work: Work) -> bool:
        """Makes a shard where it is not made yet; False where another process of this machine is at it."""
        with contextlib.ExitStack() as after:
            try:
                handle = files.take(self.folder / TAKEN / f"{number:05d}", os.O_RDWR | os.O_CREAT)
            except BlockingIOError:
                return False
            after.callback(files.leave, handle)
            if self.is_made(number):  # before, or by one that ended just now
                return True
            if files.is_locked(handle):
                self._sweep(number)
            begun = time.perf_counter()
            path, beside, own = self.table(number), self.beside(number), None
            with self._drafts(number) as drafts:
                found = pa.Table.from_pandas(work(number, drafts), self.schema, preserve_index=False)
                found = found.replace_schema_metadata({tables.ROWS: str(found.num_rows)})
                if (drafts / files.MANIFEST).is_file():
                    own = files.sha256(drafts / files.MANIFEST)
                    shutil.rmtree(beside, ignore_errors=True)  # a damaged one, or one without its mark
                    os.replace(drafts, beside)
            # Two machines may make one shard at once: the same bytes, each under a name of its own.
            _put(
                path,
                lambda draft: pq.write_table(
                    found, draft, row_group_size=tables.GROUP, write_page_checksum=True
                ),
            )
            mark = {
                "pass": self.digest, "sha256": files.sha256(path), "rows": found.num_rows, "beside": own
            }  # fmt: skip
            _put(path.with_suffix(".json"), lambda draft: _write(draft, mark))
            os.pwrite(handle, f"{time.perf_counter() - begun:012.3f}".encode(), 0)
        return True

    def _sweep(self, number: int) -> None:
        """Drafts of a shard that killed processes left: who has its lock is the only one of this machine."""
        host = re.escape(socket.gethostname())
        own = re.compile(rf"\.{number:05d}(\.parquet|\.json)?\.{host}-\d+-[0-9a-f]{{8}}\.part")
        for draft in [path for path in self.folder.iterdir() if own.fullmatch(path.name)]:
            shutil.rmtree(draft) if draft.is_dir() else draft.unlink()

    @contextlib.contextmanager
    def _drafts(self, number: int) -> Iterator[Path]:
        drafts = self.folder / f".{number:05d}.{_own()}.part"
        drafts.mkdir()
        try:
            yield drafts
        finally:
            shutil.rmtree(drafts, ignore_errors=True)

    def seconds(self) -> float:
        """What all tasks took, by whoever made them."""
        said = (path.read_bytes() for path in (self.folder / TAKEN).iterdir() if path.name != LAST)
        return sum(float(one) for one in said if one)

    @contextlib.contextmanager
    def last(self) -> Iterator[bool]:
        """For who puts together what all made: whether it is this process, of those of this machine. The
        folder goes where that ends without an error."""
        with contextlib.ExitStack() as after:
            try:
                handle = files.take(self.folder / TAKEN / LAST, os.O_RDWR | os.O_CREAT)
                after.callback(files.leave, handle)
                if not files.is_locked(handle):  # on a disk without locks; a killed one leaves it behind
                    (self.folder / ALONE).mkdir()
                    after.callback(shutil.rmtree, self.folder / ALONE, ignore_errors=True)
                is_last = (self.folder / PASS).is_file()  # else another cleared the folder just now
            except FileExistsError:
                raise Refusal(
                    f"another process puts the shards of {self.folder} together; if none does, since it was "
                    f"killed, remove {self.folder / ALONE} and run this again."
                ) from None
            except (BlockingIOError, FileNotFoundError):
                is_last = False
            yield is_last
            if is_last:
                (self.folder / PASS).unlink()  # first, by which others see it
                shutil.rmtree(self.folder, ignore_errors=True)

    def missing(self) -> list[int]:
        """Numbers of the shards that are not made."""
        return [number for number in range(self.count) if not self.is_made(number)]

    def is_joined(self, out: Path) -> bool:
        """Whether `out` is the joined table of this pass. Raises Refusal where it is anything else."""
        if not out.is_file():
            return False
        try:
            of = (pq.read_schema(out).metadata or {}).get(OF.encode(), b"").decode()
        except (pa.ArrowException, OSError):
            of = ""
        if of != self.digest:
            raise Refusal(
                f"{out} is there and not of this pass; another --out is legal, and so is removing it."
            )
        return True

    def joined(self, out: Path) -> bool:
        """`join`, where all are made and `out` is not there yet; False, and nothing done, where some are not.
        Several processes may end here at once: each writes the same bytes."""
        if self.is_joined(out):
            return True
        if self.missing():
            return False
        self.join(out, **{OF: self.digest})
        return True

    def rows(self) -> int:
        """How many rows the tables of all shards have."""
        return sum(pq.read_metadata(self.table(number)).num_rows for number in range(self.count))

    def join(self, out: Path, **facts: str) -> None:
        """Writes one table of all shards, which are made, in their order, a shard in memory at a time; with
        `facts` in its metadata."""
        self._write(out, (self._read(number) for number in range(self.count)), facts)

    def sort(self, out: Path, column: str) -> None:
        """Writes one table of all shards, which are made, in the order of a column of distinct names: nothing
        in it tells of the order of the pool's files. Some `SORTED` rows are in memory at a time, and of each
        such range of names the shards are read again."""
        sample: list[str] = []  # by their hashes, so that ranges begin at the same names whatever lies where
        for number in range(self.count):
            names = self._read(number, [column])[column].to_pandas()
            sample += names[hashes(names) % EACH == 0].tolist()
        sample.sort()
        ranges = -(-self.rows() // SORTED)
        bounds = [sample[len(sample) * k // ranges] for k in range(1, ranges)] if len(sample) else []

        def parts() -> Iterator[pa.Table]:
            for low, high in itertools.pairwise([None, *bounds, None]):
                found = [_between(self._read(number), column, low, high) for number in range(self.count)]
                yield pa.concat_tables(found).sort_by(column)

        self._write(out, parts(), {})

    def _read(self, number: int, columns: list[str] | None = None) -> pa.Table:
        return pq.read_table(
            self.table(number), columns=columns, page_checksum_verification=True, pre_buffer=False
        )

    def _write(self, out: Path, parts: Iterable[pa.Table], facts: Mapping[str, str]) -> None:
        schema = self.schema.with_metadata({tables.ROWS.decode(): str(self.rows()), **facts})
        out.parent.mkdir(parents=True, exist_ok=True)

        def write(draft: Path) -> None:
            with pq.ParquetWriter(draft, schema, write_page_checksum=True) as writer:
                for part in parts:
                    writer.write_table(part.replace_schema_metadata(schema.metadata), tables.GROUP)

        _put(out, write)


def _between(table: pa.Table, column: str, low: str | None, high: str | None) -> pa.Table:
    """The rows whose value is `low` or more, and less than `high`."""
    if low is not None:
        table = table.filter(pc.greater_equal(table[column], low))
    return table if high is None else table.filter(pc.less(table[column], high))


def mine(count: int, environment: Mapping[str, str], number: int | None, of: int | None) -> range:
    """The tasks of one process: those that its number or its launcher gives it, or all.

    Raises Refusal where only one of `number` and `of` is given, the number is not below `of`, or a launcher's
    variables are no numbers.
    """
    if (number is None) != (of is None):
        raise Refusal("--task and --of go together: the number of this process, from 0 on, and how many.")
    if number is None or of is None:
        number, of = _told(environment)
        if not 0 <= number < of:
            raise Refusal(f"a launcher says that this is process {number} of {of}; legal are 0 to {of - 1}.")
    if not 0 <= number < of:
        raise Refusal(f"--task is {number} of {of}; legal are 0 to {of - 1}.")
    return range(number, count, of)


def _told(environment: Mapping[str, str]) -> tuple[int, int]:
    """What a launcher says; 0 of 1 where it says nothing, or has gaps: locks share the work then."""
    try:
        if "SLURM_ARRAY_TASK_ID" in environment:
            own, of, low, high = (int(environment[f"SLURM_ARRAY_TASK_{name}"]) for name in _ARRAY)
            return (own - low, of) if high - low + 1 == of else (0, 1)
        for name, total in LAUNCHERS:
            if name in environment and total in environment:
                return int(environment[name]), int(environment[total])
    except (KeyError, ValueError) as error:
        raise Refusal(
            f"a launcher's variables make no sense ({error}): RANK and WORLD_SIZE, SLURM_ARRAY_TASK_ID, "
            "COUNT, MIN and MAX, SLURM_PROCID and SLURM_STEP_NUM_TASKS are numbers; --task, --of come first."
        ) from None
    return 0, 1


def _own() -> str:
    """A name that no other process has, on this machine or another."""
    return f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


def _write(draft: Path, value: dict[str, Any]) -> None:
    draft.write_text(files.json_text(files.sealed(value)), encoding="utf-8")


def _put(path: Path, write: Callable[[Path], object], first: bool = False) -> None:
    """A file that appears whole, by whichever of several writers on several machines; `first`: of them the
    first one's stays."""
    draft = path.with_name(f".{path.name}.{_own()}.part")
    try:
        write(draft)
        if first:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
        else:
            os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
