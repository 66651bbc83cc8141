"""Blocks of `selections:`: each sampler takes its own values, and one more is a file and a line."""

import math
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from alchemist.core import files
from alchemist.core.refusal import Refusal
from alchemist.pruning.sampler import Sampler
from alchemist.pruning.samplers import NAMES, SAMPLERS, selection_settings

REPO = Path(__file__).resolve().parents[2]


def settings(sampler: str, **values: Any) -> Sampler:
    return selection_settings({"rater": "r", "sampler": sampler, **values}, "selections.s")


@pytest.mark.parametrize(
    ("sampler", "values", "message"),
    [
        (
            "topk",
            {"drop": 25.0},
            r"s\.drop is not a known key; legal keys are rater, .*, seed, least, base\.",
        ),
        ("topk", {"least": math.inf}, r"selections\.s\.least is \.inf; .* finite"),
        (
            "random",
            {"sigma": 1.0},
            r"s\.sigma is not a known key; legal keys are rater, sampler, seed, base\.",
        ),
        ("full", {"start": 0.0}, r"s\.start is not a known key"),
        ("block", {"mean": 50.0}, r"s\.mean is not a known key; legal keys are rater, .*, start, base\."),
        ("gsample", {"drop": 5.0}, r"s\.drop is not a known key; legal keys are .*, mean, sigma, base\."),
        ("shift_gsample", {"start": 5.0}, r"legal keys are rater, sampler, seed, drop, mean, sigma, base\."),
        ("shift_gsample", {"drop": 100.0}, r"selections\.s\.drop is 100\.0; .* less than 100"),
        ("gsample", {"sigma": 0.0}, r"selections\.s\.sigma is 0\.0; .* larger than 0"),
        ("gsample", {"sigma": math.inf}, r"selections\.s\.sigma is \.inf; .* finite"),
        ("gsample", {"mean": 101.0}, r"selections\.s\.mean is 101\.0; .* at most 100"),
        ("block", {"start": -1.0}, r"selections\.s\.start is -1\.0; .* at least 0"),
        ("block", {"start": "10"}, r"selections\.s\.start is '10'; .* finite number"),
        ("nosuch", {}, r"selections\.s\.sampler is 'nosuch'; legal values are full, random, topk, block,"),
        ("interval", {"every": 0.5}, r"selections\.s\.every is 0\.5; .* at least 1"),
        ("interval", {"every": math.inf}, r"selections\.s\.every is \.inf; .* finite"),
        ("topk", {"seed": -1}, r"selections\.s\.seed is -1"),
        (
            "topk",
            {"drop": None},
            r"selections\.s\.drop is not a known key; legal keys are rater, sampler, seed",
        ),
        ("topk", {"extra": None}, r"selections\.s\.extra is not a known key; legal keys are rater, sampler"),
        ("topk", {"rater": ""}, r"selections\.s\.rater is ''"),
    ],
)
def test_what_a_sampler_does_not_take_is_refused(sampler: str, values: dict[str, Any], message: str) -> None:
    with pytest.raises(Refusal, match=message):
        settings(sampler, **values)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({"sampler": "topk"}, r"selections\.s\.rater is missing; selections\.s needs the keys rater,"),
        ({"rater": "r"}, r"selections\.s\.sampler is missing; legal values are full,"),
        (
            {"rater": "r", "sampler": ["topk"]},
            r"selections\.s\.sampler is \['topk'\]; legal values are ",
        ),
        (["topk"], r"selections\.s is \['topk'\]; it should be a block with the key sampler, one of full,"),
        (None, r"selections\.s is null; it should be a block"),
    ],
)
def test_what_is_no_block_of_a_sampler_is_refused(block: Any, message: str) -> None:
    with pytest.raises(Refusal, match=message):
        selection_settings(block, "selections.s")


@pytest.mark.parametrize("sampler", NAMES)
def test_null_takes_the_default_of_the_samplers_own_values(sampler: str) -> None:
    nulls = dict.fromkeys(settings(sampler).own())
    assert settings(sampler, **nulls) == settings(sampler, seed=0)
    assert settings(sampler).plain()


def test_a_sampler_with_a_value_of_ones_own_is_not_plain() -> None:
    chosen = settings("shift_gsample", drop=10.0, seed=3)
    assert not chosen.plain()
    assert chosen.own() == {"drop": 10.0, "mean": None, "sigma": None}
    assert settings("shift_gsample", seed=3).plain()


@pytest.mark.parametrize(("sampler", "value"), [("shift_gsample", "drop"), ("block", "start")])
def test_what_a_value_leaves_should_be_enough_for_the_ratio(sampler: str, value: str) -> None:
    settings(sampler, **{value: 20.0}).fits(0.8)
    settings(sampler).fits(1.0)
    with pytest.raises(Refusal, match=rf"{value} is 20\.1; at retention 0\.8 it should be at most 20,"):
        settings(sampler, **{value: 20.1}).fits(0.8)


def test_an_interval_that_passes_the_end_of_the_ranking_is_refused() -> None:
    settings("interval", every=2).fits(0.5)
    settings("interval").fits(1.0)
    with pytest.raises(Refusal, match=r"every is 3\.0; at retention 0\.5 it should be at most 2, because"):
        settings("interval", every=3).fits(0.5)


def test_every_sampler_names_itself_and_has_a_title_of_its_own() -> None:
    for name, kind in SAMPLERS.items():
        assert settings(name).sampler == name
        for own in set(kind.model_fields) - {"rater", "sampler"}:
            assert kind.model_fields[own].description
    assert len({kind.title for kind in SAMPLERS.values()}) == len(NAMES)


BOTTOM_K = '''
"""Sampler bottomk: the lowest ratings above a floor."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from alchemist.pruning.rated import Mask, Rated
from alchemist.pruning.sampler import Sampler


class BottomK(Sampler):
    """The lowest ratings, without the very lowest."""

    title: ClassVar[str] = "Bottom-K"
    sampler: Literal["bottomk"]
    spare: float | None = Field(default=None, ge=0, lt=100, description="lowest percent, left out; null: 10")

    def keep(self, pool: Rated, count: int, ratio: float) -> Mask:
        """See Sampler.keep."""
        spare = 10.0 if self.spare is None else self.spare
        last = len(pool) - round(spare / 100 * len(pool))
        mask = np.zeros(len(pool), dtype=bool)
        mask[pool.best_first()[last - count : last]] = True
        return mask


SAMPLER = BottomK
'''


def test_a_sampler_is_one_file_and_one_line(tmp_path: Path) -> None:
    """The stage prune keeps by a new one, and the stage check knows its keys."""
    for folder in ("alchemist", "stages"):
        shutil.copytree(REPO / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    # --- one file, and one line
    (tmp_path / "alchemist/pruning/bottomk.py").write_text(BOTTOM_K.lstrip())
    table = tmp_path / "alchemist/pruning/samplers.py"
    table.write_text(table.read_text().replace('    "topk",\n', '    "topk",\n    "bottomk",\n'))

    params = yaml.safe_load((REPO / "params.yaml").read_text())
    params["selections"]["low"] = {"rater": "random", "sampler": "bottomk", "spare": 20.0}
    params["grid"] |= {"selections": [*params["grid"]["selections"], "low"], "seeds": [0]}
    ids = [f"pair-{i}" for i in range(10)]
    (tmp_path / "data/random").mkdir(parents=True)
    rated = pd.DataFrame({"id": ids, "rating": [float(i) for i in range(10)], "lent": False})
    rated.to_parquet(tmp_path / "data/random/0.parquet")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        files.write_json(tmp_path / "data/params.json", files.sealed(params))
        files.write_json(tmp_path / "params.yaml", params)  # JSON is YAML
        command = [sys.executable, "-m", *words]
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            env={"PYTHONPATH": str(tmp_path), "PATH": ""},
        )  # fmt: skip

    prune = ["stages.prune", "--ratings", "data", "--selection", "low", "--ratio", "0.3", "--out", "data/low"]
    done = run(*prune)
    assert done.returncode == 0, done.stderr
    kept = pd.read_parquet(tmp_path / "data/low/0.parquet")["id"]
    assert list(kept) == ["pair-2", "pair-3", "pair-4"]
    assert "(bottomk on random)" in done.stdout
    params["selections"]["low"]["drop"] = 3.0
    told = "error: selections.low.drop is not a known key; legal keys are rater, sampler, seed, spare, base."
    for command in (prune, ["stages.check", "--out", "data/again.json"]):
        assert run(*command).stderr.strip() == told


def test_the_docs_show_the_sampler_that_is_tried_here() -> None:
    page = (REPO / "docs/add_a_rater.md").read_text(encoding="utf-8")
    assert f"```python\n{BOTTOM_K.strip()}\n```" in re.sub(r"^ {3}", "", page, flags=re.MULTILINE)
