"""What is done, changed, missing and after what, on a miniature repo that DVC runs."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.plan.jobs import Job
from stages.pipeline_state import jobs, overridden

PARAMS: dict[str, Any] = {
    "names": ["a", "b"],
    "models": {"a": {"width": 1}, "b": {"width": 2}, "c": {"width": 3}},
}
CHECK = """
import yaml
from pathlib import Path
from alchemist.core import files
given = yaml.safe_load(open("params.yaml"))
files.write_json(Path("data/params.json"), files.sealed(given))
"""
TRAIN = """
import json, sys
name = sys.argv[sys.argv.index("--model") + 1]
width = json.load(open("data/params.json"))["models"][name]["width"]
open(f"data/{name}.txt", "w").write(str(width))
"""
REPORT = "open('report.txt', 'w').write(open('data/a.txt').read())"
PIPELINE = """
stages:
  check:
    cmd: PYTHON -m stages.check
    deps: [params.yaml, stages/check.py]
    outs: [data/params.json]
  train:
    matrix: {name: "${names}"}
    cmd: PYTHON -m stages.train --model ${item.name} --out data/${item.name}.txt
    params: [{data/params.json: ["models.${item.name}"]}]
    deps: [stages/train.py]
    outs: ["data/${item.name}.txt"]
  report:
    cmd: PYTHON -m stages.report
    deps: [data, stages/report.py]
    outs: [report.txt]
"""


class Mini:
    """A repo without git in which everything was run."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name, text in (("check", CHECK), ("train", TRAIN), ("report", REPORT), ("__init__", "")):
            (root / "stages").mkdir(exist_ok=True)
            (root / f"stages/{name}.py").write_text(text)
        (root / "data").mkdir()
        (root / ".dvcignore").write_text("__pycache__\n")
        pipeline = PIPELINE.replace("PYTHON", sys.executable).replace(
            "deps: [data,", "deps: [data/a.txt, data/b.txt,"
        )
        (root / "dvc.yaml").write_text(pipeline)
        (root / "params.yaml").write_text(yaml.safe_dump(PARAMS))
        Repo.init(str(root), no_scm=True)

    def jobs(self, **changes: Any) -> dict[str, Job]:
        given = PARAMS | changes
        text = (self.root / "params.yaml").read_text() if not changes else yaml.safe_dump(given)
        return {job.name: job for job in jobs(self.root, text, given)}

    def said(self, **changes: Any) -> dict[str, tuple[str, tuple[str, ...]]]:
        """State and reasons of what is not done."""
        return {
            name: (job.state, job.reasons)
            for name, job in self.jobs(**changes).items()
            if job.state != "done"
        }


@pytest.fixture
def mini(tmp_path: Path) -> Iterator[Mini]:
    made = Mini(tmp_path)
    with contextlib.chdir(tmp_path):
        yield made


@pytest.fixture
def done(mini: Mini) -> Mini:
    Repo(str(mini.root)).reproduce()
    return mini


def test_nothing_ran_where_there_is_no_lock_file(mini: Mini) -> None:
    found = mini.jobs()
    assert list(found) == ["check", "train@a", "train@b", "report"]
    assert all(job.state == "runs" for job in found.values())
    assert found["train@a"].reasons == ("never ran",)
    assert found["report"].reasons == ("never ran", "after train")


def test_all_is_done_after_a_run_and_a_job_knows_its_command(done: Mini) -> None:
    found = done.jobs()
    assert {job.state for job in found.values()} == {"done"}
    assert (found["train@a"].script, found["train@a"].group) == ("train", "train")
    assert found["train@a"].options == {"--model": "a", "--out": "data/a.txt"}


def test_a_param_runs_the_cells_that_track_it_and_what_reads_them_follows(done: Mini) -> None:
    """Though neither params.yaml nor what check writes of it is touched."""
    before = {path: path.read_bytes() for path in (done.root / "params.yaml", done.root / "data/params.json")}
    models = PARAMS["models"] | {"a": {"width": 9}}
    assert done.said(models=models) == {
        "check": ("runs", ("params.yaml changed",)),
        "train@a": ("runs", ("models.a changed",)),
        "report": ("follows", ("after train",)),
    }
    assert before == {path: path.read_bytes() for path in before}
    assert Repo(str(done.root)).status() == {}, "DVC remembers no digest of a text that was only held"


def test_a_grid_that_grows_has_cells_that_never_ran(done: Mini) -> None:
    found = done.said(names=["a", "b", "c"])
    assert found["train@c"] == ("runs", ("never ran",))
    assert set(found) == {"check", "train@c"}


def test_code_that_changed_is_named(done: Mini) -> None:
    (done.root / "stages/train.py").write_text(TRAIN + "# other\n")
    found = done.said()
    assert found["train@a"] == found["train@b"] == ("runs", ("stages/train.py changed",))
    assert found["report"] == ("follows", ("after train",))
    assert "check" not in found


@pytest.mark.parametrize("edit", [True, False])
def test_an_output_that_is_missing_or_changed(done: Mini, edit: bool) -> None:
    path = done.root / "data/b.txt"
    path.unlink()
    if edit:
        path.write_text("other")
    found = done.said()
    assert found["train@b"] == ("runs", (f"an output {'was changed' if edit else 'is missing'}",))
    assert found["report"] == ("follows", ("after train",))
    assert set(found) == {"train@b", "report"}


def test_a_command_that_changed(done: Mini) -> None:
    text = (done.root / "dvc.yaml").read_text()
    (done.root / "dvc.yaml").write_text(text.replace("stages.report", "stages.report --more 1"))
    assert done.said() == {"report": ("runs", ("its command changed",))}


def test_a_repo_at_work_is_told_in_a_sentence(done: Mini) -> None:
    with Repo(str(done.root)).lock, pytest.raises(Refusal, match="holds its lock"):
        done.jobs()


def test_no_repo_and_a_broken_pipeline_are_told_in_a_sentence(tmp_path: Path, mini: Mini) -> None:
    (mini.root / "dvc.yaml").write_text("stages: {a: {cmd: x, deps: [${none}]}}")
    with pytest.raises(Refusal) as refused:
        mini.jobs()
    assert "\n" not in str(refused.value)
    bare = tmp_path / "bare"
    bare.mkdir()
    (mini.root / ".dvc").rename(tmp_path / "away")
    with pytest.raises(Refusal, match="DVC cannot read the pipeline"):
        jobs(bare, "", {})


def test_changes_are_laid_over_as_dvc_does(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("grid: {names: [a]}\nscale: tiny # a word\n")
    before = path.read_text()
    assert overridden(path, []) == before
    found = yaml.safe_load(overridden(path, ["grid.names=[b,c]", "scale=null", "++grid.new=1"]))
    assert found == {"grid": {"names": ["b", "c"], "new": 1}, "scale": None}
    assert path.read_text() == before
    for wrong in ("nowhere=1", "words"):
        with pytest.raises(Refusal, match=f"-S {wrong} cannot be laid over"):
            overridden(path, [wrong])


def test_the_miniature_check_writes_what_the_plan_holds(done: Mini) -> None:
    assert files.read_sealed(done.root / "data/params.json") == PARAMS
