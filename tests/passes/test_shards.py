"""A pass by one process, by several, killed and run again: equal bytes, and every task's rows once."""

import errno
import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from pass_helpers import COUNT, SCHEMA, build, table

from alchemist.core import files, tables
from alchemist.core.refusal import Refusal
from alchemist.passes import shards as shards_module
from alchemist.passes.shards import Shards, mine

MADE_OF = {"rater": "a", "pool": "b"}


def shards(folder: Path, **changes: str) -> Shards:
    return Shards(folder, MADE_OF | changes, COUNT, SCHEMA)


def done(folder: Path, log: Path, numbers: list[int] | None = None, seconds: float = 0.0) -> None:
    """One process's part of a pass."""
    one = shards(folder)
    one.begin()
    for number in range(COUNT) if numbers is None else numbers:
        one.make(number, build(log, seconds))


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


@pytest.fixture
def whole(tmp_path: Path) -> dict[str, bytes]:
    """What one process leaves that nobody disturbed."""
    (tmp_path / "log-whole").mkdir()
    done(tmp_path / "whole", tmp_path / "log-whole")
    return content(tmp_path / "whole")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def tasks_of(log: Path) -> list[int]:
    return sorted(int(path.name.split("-")[0]) for path in log.iterdir())


def test_the_joined_table_has_every_task_once_in_order(tmp_path: Path, whole: dict[str, bytes]) -> None:
    assert len(whole) == 2 * COUNT + 1
    assert shards(tmp_path / "whole").joined(tmp_path / "all.parquet")
    expected = pd.concat([table(number) for number in range(COUNT)], ignore_index=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "all.parquet"), expected)


def test_no_row_group_is_larger_than_is_read_at_once(tmp_path: Path, log: Path, monkeypatch) -> None:
    """Neither of a shard, which may have any number of rows, nor of the joined table."""
    monkeypatch.setattr(tables, "GROUP", 2)
    done(tmp_path / "shards", log)
    assert shards(tmp_path / "shards").joined(tmp_path / "all.parquet")
    for path, count in ((tmp_path / "shards/00000.parquet", 1), (tmp_path / "all.parquet", COUNT)):
        footer = pq.read_metadata(path)
        assert [footer.row_group(i).num_rows for i in range(footer.num_row_groups)] == [2, 1] * count


def test_parts_by_number_are_the_whole(tmp_path: Path, log: Path, whole: dict[str, bytes]) -> None:
    for part in (2, 0, 1):
        assert not shards(tmp_path / "out").joined(tmp_path / "all.parquet")
        done(tmp_path / "out", log, list(mine(COUNT, {}, part, 3)))
    assert content(tmp_path / "out") == whole
    assert tasks_of(log) == list(range(COUNT))


def test_processes_on_one_folder_share_the_work(tmp_path: Path, log: Path, whole: dict[str, bytes]) -> None:
    """The same command three times: no task is done twice, since each takes its lock."""
    context = multiprocessing.get_context("fork")
    all_ = [context.Process(target=done, args=(tmp_path / "out", log, None, 0.02)) for _ in range(3)]
    for process in all_:
        process.start()
    for process in all_:
        process.join()
        assert process.exitcode == 0
    done(tmp_path / "out", log)  # one may have ended while another was at the last
    assert content(tmp_path / "out") == whole
    assert tasks_of(log) == list(range(COUNT))


def test_a_killed_process_loses_the_shard_it_was_at(
    tmp_path: Path, log: Path, whole: dict[str, bytes]
) -> None:
    process = multiprocessing.get_context("fork").Process(
        target=done, args=(tmp_path / "out", log, None, 0.1)
    )
    process.start()
    while len(list(log.iterdir())) < 4:
        time.sleep(0.01)
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()
    one = shards(tmp_path / "out")
    assert one.missing() == list(range(3, COUNT))
    done(tmp_path / "out", log)
    assert content(tmp_path / "out") == whole
    assert tasks_of(log) == sorted([*range(COUNT), 3])


def test_what_is_damaged_or_half_there_is_made_again(
    tmp_path: Path, log: Path, whole: dict[str, bytes]
) -> None:
    out = tmp_path / "out"
    done(out, log)
    path = out / "00003.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    (out / "00005.json").unlink()  # killed between a table and its mark
    (out / "00007.json").write_text("{}")
    (out / "00009.parquet").unlink()
    assert shards(out).missing() == [3, 5, 7, 9]
    assert not shards(out).joined(tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()
    done(out, log)
    assert content(out) == whole


def test_shards_of_another_pass_are_refused(tmp_path: Path, log: Path) -> None:
    done(tmp_path / "out", log)
    with pytest.raises(Refusal, match=r"holds shards of another pass: rater is 'a' there and 'c' here"):
        shards(tmp_path / "out", rater="c").begin()
    with pytest.raises(Refusal, match=r"shards is 12 there and 13 here"):
        Shards(tmp_path / "out", MADE_OF, COUNT + 1, SCHEMA).begin()
    (tmp_path / "out/pass.json").write_text("{")
    with pytest.raises(Refusal, match=r"pass\.json is damaged"):
        shards(tmp_path / "out").begin()


def test_a_mistake_leaves_the_other_shards_and_no_lock(tmp_path: Path, log: Path) -> None:
    one = shards(tmp_path / "out")
    one.begin()
    one.make(0, build(log))
    for _ in range(2):
        with pytest.raises(Refusal, match="a tar is missing"):
            one.make(1, build(log, refused=1))
    assert one.missing() == list(range(1, COUNT))
    assert one.make(1, build(log))
    assert not list((tmp_path / "out").glob("*.part"))


def array(own: str, of: str, low: str, high: str) -> dict[str, str]:
    """What SLURM says to a job of an array."""
    return {
        f"SLURM_ARRAY_TASK_{name}": value
        for name, value in zip(("ID", "COUNT", "MIN", "MAX"), (own, of, low, high), strict=True)
    }


@pytest.mark.parametrize(
    ("environment", "number", "of", "expected"),
    [
        ({}, None, None, list(range(7))),
        ({}, 1, 3, [1, 4]),
        ({"RANK": "2", "WORLD_SIZE": "3"}, None, None, [2, 5]),
        ({"RANK": "2", "WORLD_SIZE": "3"}, 0, 1, list(range(7))),  # what a person says counts
        (array("11", "4", "10", "13"), None, None, [1, 5]),
        (array("20", "16", "0", "60"), None, None, list(range(7))),  # every fourth: the locks share
        (array("17", "1", "17", "17"), None, None, list(range(7))),  # one that died, again: what is left
        ({"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}, None, None, [3]),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, None, None, list(range(7))),  # a job's script, no srun
        (
            {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "RANK": "1", "WORLD_SIZE": "2"},
            None,
            None,
            [1, 3, 5],
        ),
        ({"RANK": "9", "WORLD_SIZE": "10"}, None, None, []),
    ],
)
def test_a_launcher_gives_each_process_its_tasks(
    environment: dict[str, str], number: int | None, of: int | None, expected: list[int]
) -> None:
    assert list(mine(7, environment, number, of)) == expected


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(Refusal, match="--task is 3 of 3; legal are 0 to 2"):
        mine(7, {}, 3, 3)
    with pytest.raises(Refusal, match="--task and --of go together"):
        mine(7, {}, 1, None)
    for environment in ({"RANK": "", "WORLD_SIZE": "2"}, {"SLURM_ARRAY_TASK_ID": "1"}):
        with pytest.raises(Refusal, match="a launcher's variables make no sense"):
            mine(7, environment, None, None)


def test_two_passes_that_begin_at_once_do_not_mix(tmp_path: Path) -> None:
    """Of two raters on a new folder one is refused, whichever: on many, begun by both at once."""
    context = multiprocessing.get_context("fork")
    folders, turns = [tmp_path / f"out-{turn}" for turn in range(600)], context.Array("i", 2, lock=False)
    both = [context.Process(target=begun, args=(folders, name, turns), daemon=True) for name in "ab"]
    for process in both:
        process.start()
    for process in both:
        process.join(60)
        assert process.exitcode == 0
    for folder in folders:
        assert sorted(folder.with_suffix(f".{name}").read_text() for name in "ab") == ["begun", "refused"]


def begun(folders: list[Path], rater: str, turns: Any) -> None:
    """Notes beside each folder how it went; begins when the other is there too, and does not sleep for it."""
    own = "ab".index(rater)
    for turn, folder in enumerate(folders, 1):
        turns[own] = turn
        while turns[1 - own] < turn:
            time.sleep(0)
        try:
            shards(folder, rater=rater).begin()
            told = "begun"
        except Refusal:
            told = "refused"
        folder.with_suffix(f".{rater}").write_text(told)


def test_a_shard_of_another_pass_does_not_count(tmp_path: Path, log: Path) -> None:
    """Left by a process that went on while its folder was removed and another pass began there."""
    one, other = shards(tmp_path / "out", rater="c"), shards(tmp_path / "out")
    other.begin()
    one.make(4, build(log))
    assert not other.is_made(4)
    assert other.make(4, build(log))
    assert other.is_made(4)


def test_processes_that_end_at_once_all_join(tmp_path: Path, whole: dict[str, bytes]) -> None:
    context = multiprocessing.get_context("fork")
    out = tmp_path / "all.parquet"
    processes = [context.Process(target=joins, args=(tmp_path / "whole", out)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(pd.read_parquet(out)) == 3 * COUNT
    with pytest.raises(Refusal, match="is there and not of this pass"):
        shards(tmp_path / "whole", rater="c").is_joined(out)
    out.write_text("a person's own")
    with pytest.raises(Refusal, match="is there and not of this pass"):
        shards(tmp_path / "whole").joined(out)


def joins(folder: Path, out: Path) -> None:
    """Exits with 0 where the table is there."""
    os._exit(0 if shards(folder).joined(out) else 1)


def test_an_empty_shard_has_the_others_types(tmp_path: Path) -> None:
    one = shards(tmp_path / "out")
    one.begin()
    for number in range(COUNT):
        one.make(number, lambda number, drafts: table(number).iloc[: 0 if number < 2 else 3])
    assert one.joined(tmp_path / "all.parquet")
    assert len(pd.read_parquet(tmp_path / "all.parquet")) == 3 * (COUNT - 2)


def test_the_mark_tells_hash_and_rows(tmp_path: Path, log: Path) -> None:
    done(tmp_path / "out", log, [4])
    mark = json.loads((tmp_path / "out/00004.json").read_text())
    assert mark["rows"] == 3
    assert mark["sha256"] == files.sha256(tmp_path / "out/00004.parquet")


def leaving(number: int, drafts: Path) -> pd.DataFrame:
    """A task that leaves a folder beside its table; an odd one leaves none."""
    if number % 2 == 0:
        (drafts / "array.bin").write_bytes(bytes([number] * 50))
        files.write_manifest(drafts)
    return table(number)


def test_what_a_task_leaves_beside_its_table_is_of_the_shard(tmp_path: Path) -> None:
    one = shards(tmp_path / "out")
    one.begin()
    for number in range(COUNT):
        assert one.make(number, leaving)
    assert one.missing() == []
    assert [one.beside(number).is_dir() for number in range(COUNT)] == [True, False] * (COUNT // 2)
    (one.beside(2) / "array.bin").write_bytes(bytes([2] * 49 + [3]))
    (one.beside(4) / files.MANIFEST).unlink()
    shutil.rmtree(one.beside(6))
    (one.beside(8) / "array.bin").write_bytes(b"another's, with a manifest of its own")
    (one.beside(8) / files.MANIFEST).unlink()
    files.write_manifest(one.beside(8))
    one.table(10).with_suffix(".json").unlink()  # killed between the folder and the mark
    assert one.missing() == [2, 4, 6, 8, 10]
    for number in range(COUNT):
        one.make(number, leaving)
    assert one.missing() == []
    for number in range(0, COUNT, 2):
        assert (one.beside(number) / "array.bin").read_bytes() == bytes([number] * 50)
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.endswith(".part")]


def test_a_task_that_is_stopped_leaves_no_draft(tmp_path: Path) -> None:
    def stopped(number: int, drafts: Path) -> pd.DataFrame:
        (drafts / "half").write_bytes(b"x")
        raise KeyboardInterrupt

    one = shards(tmp_path / "out")
    one.begin()
    with pytest.raises(KeyboardInterrupt):
        one.make(0, stopped)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".taken", "pass.json"]


def killed(number: int, drafts: Path) -> pd.DataFrame:
    (drafts / "half").write_bytes(b"x")
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a killed process goes on")


def test_drafts_of_a_killed_process_go_once_its_shard_is_made(tmp_path: Path, log: Path, monkeypatch) -> None:
    out = tmp_path / "out"
    one = shards(out)
    one.begin()
    process = multiprocessing.get_context("fork").Process(target=one.make, args=(0, killed))
    process.start()
    process.join()
    assert len(list(out.glob(".00000.*.part"))) == 1
    (out / f".00000.parquet.{shards_module._own()}.part").write_bytes(b"half a table")
    other = (
        out / f".00001.parquet.{shards_module._own()}.part"
    )  # of another shard, and one on another machine
    own = shards_module.socket.gethostname()
    others = [other, *(out / f".00000.{name}-1-0a1b2c3d.part" for name in (f"{own}-2", f"parquet.my{own}"))]
    for draft in others:  # of machines whose names are like this one's, too
        draft.write_bytes(b"half a table")
    monkeypatch.setattr(shards_module.socket, "gethostname", lambda: "there")
    one.make(0, build(log))
    assert len(list(out.glob(".00000.*.part"))) == 4
    monkeypatch.undo()
    one.table(0).unlink()
    one.make(0, build(log))
    assert sorted(out.glob(".*.part")) == sorted(others)


def test_seconds_are_those_of_all_tasks(tmp_path: Path, log: Path) -> None:
    one = shards(tmp_path / "out")
    one.begin()
    assert one.seconds() == 0
    for number in range(3):
        one.make(number, build(log, 0.05))
    assert 0.15 <= one.seconds() < 5
    one.table(1).unlink()
    one.make(1, build(log))  # the same task anew: its last try counts
    assert 0.1 <= one.seconds() < 5


def test_one_process_alone_puts_together_what_all_made(tmp_path: Path, log: Path) -> None:
    done(tmp_path / "out", log)
    one = shards(tmp_path / "out")
    with pytest.raises(Refusal, match="no room"):
        failing(one)
    assert one.missing() == []  # the work of an hour is not gone with a mistake at its end
    with one.last() as is_last:
        assert is_last
        other = multiprocessing.get_context("fork").Process(target=not_last, args=(tmp_path / "out",))
        other.start()
        other.join()
        assert other.exitcode == 7
        one.join(tmp_path / "deep/all.parquet")
    assert not (tmp_path / "out").exists()
    assert len(pd.read_parquet(tmp_path / "deep/all.parquet")) == 3 * COUNT


def failing(one: Shards) -> None:
    with one.last():
        raise Refusal("no room")


def not_last(folder: Path) -> None:
    """Exits with 7 where another process is the last."""
    with shards(folder).last() as is_last:
        os._exit(0 if is_last else 7)


@pytest.mark.parametrize(("at_once", "each"), [(1, 1), (5, 1), (7, 2), (100, 3), (1 << 20, 1024)])
def test_the_sorted_table_is_that_of_all_rows_whatever_lies_in_which_shard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int, each: int
) -> None:
    monkeypatch.setattr(shards_module, "SORTED", at_once)
    monkeypatch.setattr(shards_module, "EACH", each)
    rows = [(f"é-{i * 7919 % 101:03d}" if i % 3 else f"{i * 7919 % 101}", i / 7) for i in range(101)]
    whole = pd.DataFrame(rows, columns=["id", "rating"])
    assert whole["id"].is_unique
    found = []
    for name, cuts in (("a", (0, 0, 40, 101)), ("b", (0, 1, 3, 101)), ("c", (0, 101))):
        one = Shards(tmp_path / name, MADE_OF, len(cuts) - 1, SCHEMA)
        one.begin()
        order = whole if name == "a" else whole[::-1]
        for number in range(one.count):
            one.make(number, lambda n, drafts: order.iloc[cuts[n] : cuts[n + 1]])  # noqa: B023
        one.sort(tmp_path / f"{name}.parquet", "id")
        found.append((tmp_path / f"{name}.parquet").read_bytes())
    expected = whole.sort_values("id").reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), expected)
    assert found[0] == found[1] == found[2]


def test_a_disk_without_locks_has_one_that_puts_together(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_lock(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", no_lock)
    done(tmp_path / "out", log)
    one = shards(tmp_path / "out")
    with one.last() as is_last:
        assert is_last
        with pytest.raises(Refusal, match=r"another process puts the shards of .* together; if none does"):
            second(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def second(folder: Path) -> None:
    with shards(folder).last():
        pass


def test_who_comes_when_all_is_cleared_is_not_the_last(tmp_path: Path, log: Path) -> None:
    done(tmp_path / "out", log)
    one = shards(tmp_path / "out")
    (tmp_path / "out/pass.json").unlink()  # another process clears the folder just now
    with one.last() as is_last:
        assert not is_last
    shutil.rmtree(tmp_path / "out")
    with one.last() as is_last:
        assert not is_last
