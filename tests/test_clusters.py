"""What docs/clusters.md says: ratings by a remote alone, stages side by side, jobs of SLURM.

The tests go through one repo, each from what the one before it left. Ratings here need no network.
"""

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from shell import said
from tiny import REPO
from workspace import HEURISTICS, Workspace, small_params

RATINGS = [*(f"heuristic@{name}" for name in HEURISTICS), "oracle@oracle"]
JOBS = RATINGS[:2]
Sh = Callable[..., str]


@pytest.fixture(scope="module")
def sh(forked: Path) -> Sh:
    """Runs a script of bash in a folder; gives what it said."""
    return lambda folder, script: said(folder, script, forked)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory, sh: Sh) -> Path:
    """A repo of git with a pool and no rating."""
    space = Workspace(tmp_path_factory.mktemp("head"))
    params = small_params()
    params["grid"] |= {
        "raters": [], "embeddings": [], "heuristics": HEURISTICS, "oracles": ["oracle"],
        "selections": ["clarity", "oracle"],
    }  # fmt: skip
    space.write(params)
    shutil.copytree(REPO / "docs", space.folder / "docs", ignore=shutil.ignore_patterns("*.png"))
    space.begin_history()
    sh(space.folder, "dvc repro --quiet sizes && git add --all && git commit --quiet -m start")
    return space.folder


def entries(folder: Path) -> dict[str, str]:
    """Of each rating that dvc.lock names, the hash of its table."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {
        name: next(out["md5"] for out in stages[name]["outs"] if out["path"].startswith("data/ratings"))
        for name in RATINGS if name in stages
    }  # fmt: skip


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def test_jobs_of_an_array_leave_in_the_cache_what_the_repo_takes_up(head: Path, sh: Sh) -> None:
    """By the script of SLURM without SLURM: its variables, and two jobs at once. Both are passes over the
    pool, of which the second must not take the array's number for its share."""
    pattern = "'^heuristic@(clarity|frequency)'"
    listed = sh(head, f"bash docs/slurm.sh {pattern}").split()
    assert listed == ["0", JOBS[0], "1", JOBS[1]]
    sh(
        head,
        "export SLURM_ARRAY_TASK_COUNT=2 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=1\n"
        f"SLURM_ARRAY_TASK_ID=0 bash docs/slurm.sh {pattern} & first=$!\n"
        f"SLURM_ARRAY_TASK_ID=1 bash docs/slurm.sh {pattern}\nwait $first",
    )
    assert not (head / "data/ratings").exists()
    assert entries(head) == {}
    for name in JOBS:
        assert entries(head / ".scratch/jobs" / name).keys() == {name}


def test_stages_side_by_side_lose_nothing_of_each_other(head: Path, sh: Sh) -> None:
    """Four, of which two were made by the jobs before and do not run again."""
    said = sh(
        head, f"printf '%s\\n' {' '.join(RATINGS)} | xargs -P 4 -I STAGE dvc --wait-for-lock repro -s STAGE"
    )
    assert set(re.findall(r"Running stage '([^']+)'", said)) == {*RATINGS} - {*JOBS}
    found = {name: md5(head / f"data/ratings/{name.partition('@')[2]}/all.parquet") for name in RATINGS}
    assert entries(head) == found
    for name in JOBS:
        assert entries(head / ".scratch/jobs" / name) == {name: found[name]}


def test_a_clone_has_ids_from_ratings_alone(head: Path, sh: Sh, tmp_path: Path) -> None:
    """Pushed without the pool's pictures, and without any model."""
    ids = "data/subsets/clarity/0.5/ids-0.parquet"
    sh(
        head,
        "dvc repro --quiet --single-item prune && python -m stages.export --selection clarity --out ids\n"
        f"dvc remote add --quiet --default shared {tmp_path / 'remote'}\n"
        "git add .dvc/config dvc.lock && git commit --quiet -m ratings\n"
        "dvc push --quiet data/pool data/ratings/*/*.parquet",
    )
    pushed = [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]
    assert len(pushed) == len(RATINGS) + 1 + len(list((head / "data/pool").iterdir()))
    fresh = tmp_path / "fresh"
    sh(
        tmp_path,
        f"git clone --quiet {head} fresh && cd fresh\n"
        "dvc pull --quiet $(dvc list . data/ratings -R --dvc-only | sed 's,^,data/ratings/,')\n"
        "dvc repro --quiet --single-item check prune",
    )
    assert (fresh / ids).read_bytes() == (head / ids).read_bytes()
    made = {path.name for path in (fresh / "data").iterdir()}
    assert made == {"params.json", "ratings", "subsets"}, "no pool, no picture, no model"
    sh(fresh, "dvc pull --quiet data/pool && python -m stages.export --selection clarity --out ids")
    for name in ("pairs.parquet", "export.json"):
        assert (fresh / "ids" / name).read_bytes() == (head / "ids" / name).read_bytes()
    assert sh(fresh, "git status --porcelain dvc.lock") == "", "the books are those of the head"


def test_a_run_cache_that_was_pushed_is_fetched_and_nothing_is_computed(
    head: Path, sh: Sh, tmp_path: Path
) -> None:
    """Whatever dvc.lock says: the clone has none. With a lock for disks without flock; room is made after."""
    sh(
        head,
        f"dvc remote add --quiet --force --default shared {tmp_path / 'remote'}\n"
        "git commit --quiet --all --message remote && dvc push --quiet --run-cache",
    )
    said = sh(
        tmp_path,
        f"git clone --quiet {head} other && cd other && rm dvc.lock\n"
        "dvc config --local core.hardlink_lock true && dvc repro --pull heuristic@clarity",
    )
    assert "Running stage" not in said
    assert entries(tmp_path / "other") == {"heuristic@clarity": entries(head)["heuristic@clarity"]}
    rated = "data/ratings/clarity/all.parquet"
    assert (tmp_path / "other" / rated).read_bytes() == (head / rated).read_bytes()
    sh(tmp_path / "other", "dvc commit --quiet -f heuristic@clarity && dvc gc --quiet --workspace --force")
    assert "up to date" in sh(tmp_path / "other", "dvc status heuristic@clarity")
