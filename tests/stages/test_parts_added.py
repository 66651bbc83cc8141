"""A rater, a pool format, a family: each is one file and one line, is added to a copy of the repo, and runs.

docs/add_a_rater.md shows the code that stands here. A sampler is added in tests/pruning/test_samplers.py.
"""

import re
import shutil
import subprocess
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from pool_helpers import NO_SPLITS, encoded, picture
from stage_grid import SEED, Grid
from tiny import REPO

from alchemist.core import files
from alchemist.params.sources import passed_on

CAPTION_SHARE = '''
"""Kind caption_share: which share of a proxy's loss the caption takes away."""

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Found, Plain


class CaptionShareRater(SeededRater):
    """How much the caption lowers the loss, as a share of it."""

    kind: Literal["caption_share"] = Field(description="what gives the rating")
    direction: Direction = 1

    def passes(self) -> int:
        """With the captions and without."""
        return 2


BLOCK = CaptionShareRater


def rate(run: "Plain", settings: CaptionShareRater) -> "Found":
    """Ratings (N,): the share, times the direction."""
    from alchemist.raters import proxy

    bare, given, empty = proxy.caption_losses(run)
    return replace(bare, rating=settings.direction * (empty - given) / empty)
'''

BRIGHTNESS = '''
"""Kind brightness: how bright an image is."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from alchemist.core.settings.rater import HeuristicRater


class BrightnessRater(HeuristicRater):
    """The mean of all values."""

    kind: Literal["brightness"] = Field(description="what gives the rating")


BLOCK = BrightnessRater


def rate(image: NDArray[np.uint8]) -> float:
    """In grey levels, from 0 to 255."""
    return float(image.mean())
'''

ZIP = '''
"""Format zip: archives of images, each with a text of the same name beside it."""

import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Literal

from pydantic import Field

from alchemist.core.settings.pool import UserPool
from alchemist.pools.base import Found, files_of
from alchemist.pools.image import SUFFIXES


class ZipPool(UserPool):
    """Archives of images and texts."""

    format: Literal["zip"] = Field(description="archives of images and texts")
    suffix: str = Field(default=".txt", min_length=1, description="of the texts")


BLOCK = ZipPool


def read(pool: ZipPool) -> Iterator[Found]:
    """A pair for every image, in the order of the archives' and the members' names."""
    for name, path in files_of(pool, ".zip"):
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            for member in sorted(members):
                stem = PurePosixPath(member).with_suffix("")
                if PurePosixPath(member).suffix.lower() in SUFFIXES:
                    text = f"{stem}{pool.suffix}"
                    caption = archive.read(text).decode() if text in members else None
                    yield Found(f"{name}/{stem}", caption, archive.read(member))


def expected(pool: ZipPool) -> None:
    """Only reading would tell."""
'''

FLOW_SETTINGS = '''
"""What params.yaml may hold of the family flow."""

from typing import ClassVar, Literal

from pydantic import Field

from alchemist.core.settings import Settings
from alchemist.core.settings.model import FamilyCodec, ModelSettings


class FlowSettings(ModelSettings):
    """The size of a denoiser."""

    has_likelihood: ClassVar[bool] = False
    family: Literal["flow"] = Field(description="the model family")
    width: int = Field(default=32, ge=8, description="channels")


class FlowLaw(Settings):
    """How images are drawn."""

    steps: int = Field(default=4, ge=1, description="of the solver")
    guidance: float = Field(default=1.0, ge=0, description="classifier-free guidance; 1 is none")


class FlowCodec(FamilyCodec):
    """How images are encoded: as they are."""


MODEL, LAW, CODEC = FlowSettings, FlowLaw, FlowCodec
'''


PAGE = (REPO / "docs/add_a_rater.md").read_text(encoding="utf-8")


def shown_params() -> dict[str, Any]:
    """The first block of params.yaml on the page."""
    block = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert block is not None
    found: dict[str, Any] = yaml.safe_load(textwrap.dedent(block[1]))
    return found


class Copy:
    """A copy of the code with the params of the tiny grid, whose stages run as commands."""

    def __init__(self, folder: Path, grid: Grid, python: Path) -> None:
        self.folder, self.grid, self.python = folder, grid, python
        for name in ("alchemist", "stages"):
            shutil.copytree(REPO / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        (folder / "assets").symlink_to(REPO / "assets")
        self.params: dict[str, Any] = files.read_sealed(grid.folder / "data/params.json")
        del self.params["sources"], self.params["budgets"], self.params["rating"]  # which check adds

    def add(self, file: str, text: str, table: str = "", line: str = "") -> None:
        """One file, and one line in one table, before the others."""
        (self.folder / file).parent.mkdir(exist_ok=True)
        (self.folder / file).write_text(text.lstrip())
        if table:
            path = self.folder / table
            before = path.read_text()
            path.write_text(before.replace("NAMES = (\n", f"NAMES = (\n    {line}\n", 1))
            assert path.read_text() != before

    def run(self, stage: str, **options: Any) -> subprocess.CompletedProcess[str]:
        files.write_json(self.folder / "params.yaml", self.params)  # JSON is YAML
        files.write_json(self.folder / "data/params.json", files.sealed(passed_on(self.params)))
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        return subprocess.run(
            [self.python, "-m", f"stages.{stage}", *words], cwd=self.folder, capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL,
            env={"PYTHONPATH": str(self.folder), "PATH": ""},
        )  # fmt: skip

    def make(self, stage: str, **options: Any) -> None:
        done = self.run(stage, **options)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def copy(tmp_path: Path, grid: Grid, forked: Path) -> Copy:
    return Copy(tmp_path, grid, forked / "python")


def ratings(path: Path) -> "pd.Series[float]":
    table: pd.Series[float] = pd.read_parquet(path).set_index("id")["rating"]
    return table


def test_a_rater_read_off_a_proxy_is_one_file_and_one_line(copy: Copy) -> None:
    copy.add(
        "alchemist/raters/kinds/caption_share.py", CAPTION_SHARE, "alchemist/raters/table.py",
        '"caption_share",',
    )  # fmt: skip
    copy.params["raters"]["share"] = {"kind": "caption_share", "direction": -1}
    copy.make(
        "rate", rater="share", seed=SEED, family="star", scale="tiny",
        encoded=copy.grid.folder / "data/encoded", assets="assets", out="share.parquet", log_out="log",
        time_out="time.json", scratch=".scratch",
    )  # fmt: skip
    found, gain = ratings(copy.folder / "share.parquet"), copy.grid.rate("caption_gain")
    given = -copy.grid.rate("loss")  # which is rated by low loss
    np.testing.assert_allclose(found.reindex(gain.index), -gain / (gain + given), rtol=1e-3, atol=1e-6)
    assert found.std() > 1e-4


def test_a_rater_on_pixels_is_one_file_and_one_line(copy: Copy) -> None:
    copy.add("alchemist/raters/kinds/brightness.py", BRIGHTNESS, "alchemist/raters/table.py", '"brightness",')
    shown = shown_params()
    for key, block in shown.items():
        copy.params[key] |= block
    pool = copy.grid.folder / "data/pool"
    copy.make("heuristic", rater="dark", pool=pool, out="dark.parquet", log_out="log", time_out="t.json")
    rows = copy.grid.index("pool")
    means = copy.grid.images(rows).reshape(len(rows), -1).mean(axis=1)
    np.testing.assert_allclose(ratings(copy.folder / "dark.parquet").loc[rows["id"]], -means)
    # The check knows it, its keys and its list of the grid, and the stage prune keeps by it.
    copy.make("check", out="params.json")
    ratings_of = copy.folder / "ratings/dark"
    ratings_of.mkdir(parents=True)
    shutil.copy(copy.folder / "dark.parquet", ratings_of / "all.parquet")
    copy.make("prune", ratings="ratings", selection="dark", ratio=0.5, out="subsets")
    kept = pd.read_parquet(copy.folder / f"subsets/{SEED}.parquet")["id"]
    pool = pd.Series(-means, index=rows["id"])
    assert set(kept) == set(pool.nlargest(len(kept)).index)
    copy.params["raters"]["dark"]["dirction"] = 1
    told = "raters.dark.dirction is not a known key, nearest to direction; legal keys are"
    assert told in copy.run("check", out="params.json").stderr


def test_a_pool_format_is_one_file_and_one_line(copy: Copy) -> None:
    copy.add("alchemist/pools/zip.py", ZIP, "alchemist/pools/read.py", '"zip",')
    with zipfile.ZipFile(copy.folder / "mine.zip", "w") as archive:
        for i in range(3):
            archive.writestr(f"a/{i}.png", encoded(picture(i)))
            archive.writestr(f"a/{i}.cap", f"caption {i}")
        archive.writestr("a/broken.png", b"x")
    block = {"format": "zip", "path": "mine.zip", "splits": NO_SPLITS, "suffix": ".cap", "resolution": 16}
    copy.params["pools"]["mine"] = block
    copy.make("prepare", pool="mine", out="pool", truth_out="truth", time_out="time.json")
    index = pd.read_parquet(copy.folder / "pool/index.parquet").set_index("id")
    assert index.loc[[f"mine.zip/a/{i}" for i in range(3)], "caption"].tolist() == [
        "caption 0", "caption 1", "caption 2",
    ]  # fmt: skip
    assert index.loc["mine.zip/a/broken", "reason"] == "missing caption"
    block["suffix"] = ""
    told = "error: pools.mine.suffix is ''; it should be text, one letter at least."
    assert told in copy.run("check", out="params.json").stderr


def test_a_family_is_one_folder(copy: Copy) -> None:
    """With a settings file: its models and its law are checked, its pairs encoded, its models trained."""
    network = (REPO / "tests/second_family.py").read_text().replace("SIDE = 8 ", "SIDE = 32 ")
    copy.add("alchemist/families/flow/__init__.py", '"""The family flow."""\n')
    copy.add("alchemist/families/flow/family.py", network)
    copy.add("alchemist/families/flow/settings.py", FLOW_SETTINGS)
    copy.params["models"]["flow"] = {"family": "flow", "width": 16}
    copy.params["scales"]["tiny"]["sample"]["flow"] = {"steps": 2}
    copy.params["codecs"]["flow"] = {}
    copy.make("check", out="params.json")
    data = copy.grid.folder / "data"
    copy.make(
        "codec", family="flow", pool_name="emoji", pool=data / "pool", assets="assets", out="codec",
        scratch=".scratch", time_out="time.json",
    )  # fmt: skip
    copy.make(
        "encode", family="flow", pool=data / "pool", codec="codec", scale="tiny", out="encoded",
        time_out="time.json",
    )  # fmt: skip
    copy.make(
        "train", family="flow", encoded="encoded", model="flow", seed=0, out="cell",
        time_out="train.json", scratch=".scratch",
    )  # fmt: skip
    assert len(list((copy.folder / "cell").glob("ema-*.safetensors"))) >= 2
    copy.params["models"]["flow"]["depth"] = 3
    told = "models.flow.depth is not a known key, nearest to width; legal keys are family, width, base."
    assert told in copy.run("check", out="params.json").stderr


@pytest.mark.parametrize("text", [CAPTION_SHARE, BRIGHTNESS, ZIP])
def test_the_docs_show_what_is_tried_here(text: str) -> None:
    shown = textwrap.dedent(re.sub(r"^ {3}", "", PAGE, flags=re.MULTILINE))
    assert f"```python\n{text.strip()}\n```" in shown or f"```python\n{text.strip()}\n```" in PAGE
