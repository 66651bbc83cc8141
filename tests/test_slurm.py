"""docs/slurm.sh and the other commands of SLURM that the pages show, on a cluster of two nodes.

The tests go through one repo, each from what the one before it left. Where SLURM is not installed they are
skipped.
"""

import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import slurm
import yaml
from doc_pages import FENCE
from programs import free_ports
from slurm import Cluster
from tiny import REPO
from workspace import Workspace, small_params

SEEDS = [0, 1]
CELLS = [f"train@alchemist-0.5-xs-{seed}" for seed in SEEDS]


@pytest.fixture(scope="module")
def sh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    slurm.installed()
    with slurm.running(tmp_path_factory.mktemp("slurm")) as one:
        yield one


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, sh: Cluster) -> Path:
    """A repo of git with a pool, whose cells train for some seconds and save their state often."""
    space = Workspace(tmp_path_factory.mktemp("head"))
    params = small_params()
    params["grid"] |= {
        "raters": ["alchemist"], "heuristics": [], "oracles": [], "embeddings": [],
        "selections": ["alchemist"], "seeds": SEEDS,
    }  # fmt: skip
    params["scales"]["tiny"]["train"]["images"] = 6_400
    space.write(params)
    shutil.copytree(REPO / "docs", space.folder / "docs", ignore=shutil.ignore_patterns("*.png"))
    space.begin_history()
    pipeline = space.folder / "dvc.yaml"
    pipeline.write_text(pipeline.read_text().replace("-m stages.train", "-m stages.train --every 0.3"))
    sh(space.folder, "dvc repro --quiet sizes && git add --all && git commit --quiet -m start")
    return space.folder


def lines() -> list[str]:
    """The commands of docs/clusters.md, for a grid of two ratings and four cells."""
    page = (REPO / "docs/clusters.md").read_text()
    (block,) = (block for _, block in FENCE.findall(page) if "sbatch" in block)
    block = block.replace("0-8", "0-1").replace("0-11%8", "0-3%8")
    return [line.partition("#")[0].strip() for line in block.splitlines()]


def outs(folder: Path, stage: str) -> dict[str, str]:
    """Hashes of what a stage left, by dvc.lock, but for what it took."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    found = stages[stage]["outs"] if stage in stages else []
    return {out["path"]: out["md5"] for out in found if "timings" not in out["path"]}


def preempted(head: Path, sh: Cluster) -> tuple[str, str]:
    """Requeues the job of a cell that has saved a state of its training; gives its number and its array's."""
    clone = head / ".scratch/jobs" / CELLS[0]
    for _ in range(1_200):
        running = sh(head, "squeue --noheader --states RUNNING --format '%A %F %K'").split("\n")
        for job, array, number in (line.split() for line in running if line):
            if number == "0" and list(clone.glob(".scratch/*/state.safetensors")):
                sh(head, f"scontrol requeue {job}")
                return job, array
        time.sleep(0.1)
    pytest.fail("the cell never saved a state")


def test_the_page_s_commands_make_a_grid_on_two_nodes_whatever_is_preempted(head: Path, sh: Cluster) -> None:
    encode, listed, rate, prune, train, rest = lines()
    sh(head, encode)
    assert sh(head, listed).split() == ["0", "rate@alchemist-0", "1", "rate@alchemist-1"]
    sh(head, rate)
    sh.wait()
    assert not (head / "data/ratings").exists(), "a job works in its clone"
    told = sh(head, prune)
    for seed in SEEDS:
        assert f"Stage 'rate@alchemist-{seed}' is cached - skipping run, checking out outputs" in told
    jobs = sh(head, "bash docs/slurm.sh '^train'").split()
    assert set(jobs[1::3]) == {*CELLS, *(f"train_full@full-xs-{seed}" for seed in SEEDS)}
    assert jobs[1] == CELLS[0]
    sh(head, train)
    job, array = preempted(head, sh)
    sh.wait()
    facts = sh(head, "scontrol show jobs --oneliner")
    assert re.search(rf"JobId={job} .*JobState=COMPLETED .*Restarts=1 ", facts), facts
    assert set(re.findall(r" NodeList=(\w+) ", facts)) == {"one", "two"}
    assert set(re.findall(r"JobState=(\w+)", facts)) == {"COMPLETED"}
    began = (head / f"slurm-{array}-0.out").read_text()
    assert began.count(f"Running stage '{CELLS[0]}'") == 2, began
    told = sh(head, rest)
    assert not re.findall(r"Running stage '((?:train|rate|evaluate)[^']*)'", told)
    assert (head / "reports/index.html").is_file()


def test_a_cell_that_was_preempted_has_the_bytes_of_one_that_was_not(head: Path, sh: Cluster) -> None:
    before = outs(head, CELLS[0])
    assert before
    sh(head, f"dvc repro --single-item --force {CELLS[0]}")
    assert outs(head, CELLS[0]) == before


def test_scores_by_an_array_and_by_srun_are_those_of_one_process(head: Path, sh: Cluster) -> None:
    score = "python -m stages.score --rater data/raters/alchemist/0 --rows 64"
    sh(head, f"{score} --out data/scored/one")
    sh(head, f"sbatch --array=0-1 --wrap '{score} --out data/scored/array'")
    sh.wait()
    sh(head, f"srun -n 2 {score} --out data/scored/srun")
    logs = [path.read_text() for path in head.glob("slurm-*.out")]
    made = [log for log in logs if re.search(r"[1-9]\d* of \d+ shards", log)]
    assert len(made) == 2, "each task of the array makes shards of its own"
    for way in ("array", "srun"):
        for path in (head / "data/scored/one").rglob("*.parquet"):
            other = head / "data/scored" / way / path.relative_to(head / "data/scored/one")
            assert path.read_bytes() == other.read_bytes(), other


def test_torchrun_is_started_on_both_nodes_by_srun(head: Path, sh: Cluster) -> None:
    """One rating by two processes that take every step together."""
    stage = yaml.safe_load((head / "dvc.lock").read_text())["stages"]["rate@alchemist-0"]
    command = stage["cmd"].replace("data/ratings/", "data/together/ratings/")
    command = command.replace("--log-out data/raters/", "--log-out data/together/raters/")
    command = re.sub(r"--time-out \S+", "--time-out data/together/time.json", command)
    launcher = (
        "srun --nodes 2 --ntasks-per-node 1 torchrun --nnodes 2 --nproc-per-node 1 --rdzv-backend c10d "
        f"--rdzv-endpoint 127.0.0.1:{free_ports(1)[0]}"
    )
    told = sh(head, command.replace("python", launcher, 1))
    assert "2 processes" in told
    alone = pd.read_parquet(head / "data/ratings/alchemist/0.parquet").set_index("id")["rating"]
    both = pd.read_parquet(head / "data/together/ratings/alchemist/0.parquet").set_index("id")["rating"]
    assert np.abs(both - alone.loc[both.index]).max() < 1e-5 * max(1.0, alone.std())
