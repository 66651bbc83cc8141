import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from registered_helpers import git, write
from stage_grid import Grid
from tiny import REPO


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grid]:
    """A pool with a rejected pair in each split, its encoding, the scorer and the floors of a tiny grid."""
    made = Grid(tmp_path_factory.mktemp("grid"))
    sys.path.insert(0, str(REPO))
    made(
        "prepare", pool="emoji", out="data/read", truth_out="data/truth", time_out="data/timings/prepare.json"
    )
    made("copies", pool="emoji", read="data/read", out="data/pool", time_out="data/timings/copies.json")
    made.reject()
    made("codec", family_name="star", pool_name="emoji", pool="data/pool", assets=REPO / "assets/codecs",
         out="data/codec", scratch=".scratch", time_out="data/timings/codec.json")  # fmt: skip
    made("encode", family_name="star", pool="data/pool", codec="data/codec", scale="tiny",
         out="data/encoded", time_out="data/timings/encode.json")  # fmt: skip
    made.noted(
        "scorer", pool="data/pool", scale="tiny", out="data/scorer", time_out="data/timings/scorer.json"
    )
    made.noted("floors", family_name="star", pool="data/pool", codec="data/codec", scorer="data/scorer",
               scale="tiny", out="data/floors", time_out="data/timings/floors/star.json")  # fmt: skip
    yield made
    sys.path.remove(str(REPO))


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repo of git with the study committed, and dvc.yaml."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(REPO / "dvc.yaml", "dvc.yaml")
    write()
    git("init", "--quiet")
    git("add", "params.yaml", "dvc.yaml")
    git("commit", "--quiet", "-m", "a study")
    return tmp_path
