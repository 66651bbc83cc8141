"""Who makes which shards, and what a process does that comes when others have made them."""

from pathlib import Path

import pytest
from pass_helpers import COUNT, SCHEMA, build

from alchemist.core.refusal import Refusal
from alchemist.passes.run import Engine, How, make
from alchemist.passes.shards import Shards

ALL = How()


def counted(log: Path, tick=lambda pairs: None):
    """Work whose arguments end with what hears of pairs, as those of the stages do."""
    return build(log)


def made(folder: Path, log: Path, how: How = ALL, total: int = COUNT * 3 - 1) -> bool:
    shards = Shards(folder, {"rater": "a"}, -(-total // 3), SCHEMA)
    return make(shards, counted, (log,), total, 3, how, "a pass", print)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    return tmp_path / "log"


def test_the_last_of_several_processes_hears_that_all_are_made(tmp_path: Path, log: Path, capsys) -> None:
    assert not made(tmp_path / "out", log, How(task=0, of=3))
    assert "8 of 12 shards are left to other processes, or to this command again" in capsys.readouterr().out
    assert not made(tmp_path / "out", log, How(task=2, of=3))
    assert made(tmp_path / "out", log, How(task=1, of=3))
    assert made(tmp_path / "out", log)  # once more, by one that came late: nothing is left to make
    assert len(list(log.iterdir())) == COUNT


def test_a_process_ends_where_another_put_all_together_meanwhile(tmp_path: Path, log: Path, capsys) -> None:
    shards = Shards(tmp_path / "out", {"rater": "a"}, COUNT, SCHEMA)

    def overtaken(log: Path, tick):
        work = build(log)

        def one(number: int, drafts: Path):
            found = work(number, drafts)
            if number == 4:  # another made the rest, joined all and cleared the folder
                (tmp_path / "out/pass.json").unlink()
            return found

        return one

    assert not make(shards, overtaken, (log,), COUNT * 3, 3, How(), "a pass", print)
    assert "another process made the last shard" in capsys.readouterr().out
    assert len(list(log.iterdir())) == 5


def test_a_pool_without_pairs_and_a_wrong_number_are_refused_before_anything(
    tmp_path: Path, log: Path
) -> None:
    with pytest.raises(Refusal, match="the pool has no pairs; one is the least"):
        made(tmp_path / "out", log, total=0)
    with pytest.raises(Refusal, match="--task is 3 of 3; legal are 0 to 2"):
        made(tmp_path / "out", log, How(task=3, of=3))
    assert not (tmp_path / "out").exists()


def test_cores_are_shared_among_the_processes_of_a_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert How().share(8) == 8
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    assert How().share(8) == 2
    assert How().share(2) == 1
    assert How(engine=Engine.RAY).share(8) == 1


def test_who_has_all_tasks_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert How().is_alone()
    assert not How(task=0, of=2).is_alone()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert not How().is_alone()
    assert How(engine=Engine.RAY).is_alone()
