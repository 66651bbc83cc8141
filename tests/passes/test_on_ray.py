"""A pass on a Ray cluster of two nodes, one of which is killed in the middle."""

import os
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import pytest
from pass_helpers import COUNT, SCHEMA, build

from alchemist.core.refusal import Refusal
from alchemist.passes import on_ray
from alchemist.passes.shards import Shards

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own

TESTS = Path(__file__).parents[1]
SECONDS = 0.3  # of a task


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:  # the nodes' workers import what the tests do
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, (TESTS, TESTS.parent))))
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield made
        made.shutdown()


def shards(folder: Path) -> Shards:
    one = Shards(folder, {"rater": "a"}, COUNT, SCHEMA)
    one.begin()
    return one


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def test_a_node_that_is_killed_loses_its_shards_in_flight_at_most(cluster, tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "log").mkdir()
    one = shards(tmp_path / "here/out")
    for number in range(COUNT):
        one.make(number, build(tmp_path / "here"))
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()

    def kill() -> None:
        while len(list((tmp_path / "out").glob("*.json"))) < 5:  # four shards and pass.json
            time.sleep(0.02)
        cluster.remove_node(second, allow_graceful=False)

    out, ticks = shards(tmp_path / "out"), list[int]()
    killer = Thread(target=kill)
    killer.start()
    arguments = (tmp_path / "log", SECONDS)
    on_ray.run(out, build, arguments, range(COUNT), cluster.address, 0, ticks.append)
    killer.join()
    assert sum(ticks) == COUNT
    assert out.missing() == []
    assert content(tmp_path / "out") == content(tmp_path / "here/out")
    begun = Counter(int(path.name.split("-")[0]) for path in (tmp_path / "log").iterdir())
    assert set(begun) == set(range(COUNT))
    assert COUNT <= begun.total() <= COUNT + 2  # the second node had two cores, and so two tasks in flight
    processes = {path.name.split("-")[1] for path in (tmp_path / "log").iterdir()}
    assert len(processes) >= 2


def test_a_mistake_within_a_task_is_told_as_one(cluster, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    out = shards(tmp_path / "out")
    with pytest.raises(Refusal, match="a tar is missing"):
        on_ray.run(out, build, (tmp_path / "log", 0.0, 2), range(3), cluster.address, 0, lambda n: None)
    assert 2 in out.missing()
    with pytest.raises(Refusal, match="--gpus is 1, and no node of the cluster has more than 0; 0 is legal"):
        on_ray.run(out, build, (tmp_path / "log",), range(3), cluster.address, 1, lambda n: None)
    with pytest.raises(
        Refusal, match=r"--gpus is 1\.5; legal are shares of a GPU up to 1, and whole numbers"
    ):
        on_ray.run(out, build, (tmp_path / "log",), range(3), cluster.address, 1.5, lambda n: None)


def test_workers_read_paths_from_the_driver_s_folder_on(cluster, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "log").mkdir()
    monkeypatch.chdir(tmp_path)
    out = shards(tmp_path / "out")
    on_ray.run(out, build, (Path("log"),), range(2), cluster.address, 0, lambda n: None)
    assert out.missing() == list(range(2, COUNT))
    assert len(list((tmp_path / "log").iterdir())) == 2


def test_a_cluster_that_is_not_there_is_one_sentence(tmp_path: Path, monkeypatch) -> None:
    out = shards(tmp_path / "out")
    with pytest.raises(Refusal, match=r"--address is 127\.0\.0\.1:1, where no Ray cluster can be joined"):
        on_ray.run(out, build, (tmp_path,), range(3), "127.0.0.1:1", 0, lambda n: None)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:2")
    with pytest.raises(Refusal, match=r"--address is 127\.0\.0\.1:2, where no Ray cluster can be joined"):
        on_ray.run(out, build, (tmp_path,), range(3), None, 0, lambda n: None)


class Unhashable(dict):  # type: ignore[type-arg]
    """As settings with a dictionary in them are."""


def counting(log: Path, settings: Unhashable):
    """Built once for a worker's tasks of one pass."""
    (log / f"built-{os.getpid()}-{time.monotonic_ns()}").touch()
    return build(log)


def test_a_worker_builds_once_for_all_of_its_tasks(cluster, tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    out = shards(tmp_path / "out")
    on_ray.run(
        out, counting, (tmp_path / "log", Unhashable()), range(COUNT), cluster.address, 0, lambda n: None
    )
    assert out.missing() == []
    names = [path.name for path in (tmp_path / "log").iterdir()]
    built = [name.split("-")[1] for name in names if name.startswith("built")]
    assert len(built) == len(set(built)) == len({name.split("-")[1] for name in names})
