"""Every part stays in its room: see tests/house.py.

Each check is asked of this repo, where it should find nothing, and of a miniature repo with one
planted defect, where it should find that one.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from closure import ROOT
from house import (
    LIGHT,
    arrow_complaints,
    family_complaints,
    index_complaints,
    length_complaints,
    room_complaints,
    torch_complaints,
    truth_complaints,
)
from mini_repo import Check, Defect, d, mini

from alchemist.pools.store import PLACE

CHECKS: list[Check] = [
    room_complaints,
    arrow_complaints,
    family_complaints,
    length_complaints,
    truth_complaints,
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_repo_holds(check: Check) -> None:
    assert check(ROOT) == []


def test_light_stages_import_no_torch() -> None:
    assert torch_complaints(ROOT, *(f"stages.{stage}" for stage in LIGHT)) == []


def test_index_says_nothing_of_the_kind(tmp_path: Path) -> None:
    from alchemist.pools.store import Row, write_pool

    images = np.random.default_rng(0).integers(256, size=(8, 4, 4, 3), dtype=np.uint8)
    for kind in ("informative", "plain"):
        rows = [Row(f"id{i}", "a caption", "pool", f"g{i}", images[i], "", kind) for i in range(8)]
        (tmp_path / kind).mkdir()
        write_pool(tmp_path / kind, rows, 4, 100, {})
        assert index_complaints(tmp_path / kind) == []
    informative, plain = (
        (tmp_path / kind / "index.parquet").read_bytes() for kind in ("informative", "plain")
    )
    assert informative == plain


# ------------------------------------------------------------------------ the checks can fail


def test_a_healthy_miniature_passes_every_check(tmp_path: Path) -> None:
    root = mini(tmp_path)
    assert {check.__name__: check(root) for check in CHECKS} == {check.__name__: [] for check in CHECKS}


LAZY = "\ndef f():\n    import yaml\n"
OWN = "which is the family's own"
DEFECTS = [
    d(room_complaints, "alchemist/deep.py", "", LAZY, "alchemist/deep.py: imports yaml"),
    d(room_complaints, "alchemist/deep.py", "", "from dvc.api import x",
      "alchemist/deep.py: imports dvc.api"),
    d(room_complaints, "alchemist/deep.py", "", "print(1)", "alchemist/deep.py: prints"),
    # arrows: up, lazily up, into a family, from one family into another, out of the rooms, to torch
    d(arrow_complaints, "alchemist/models/family.py", "", "from alchemist.raters import meta",
      "alchemist/models/family.py: imports raters.meta, and models may not import from raters"),
    d(arrow_complaints, "alchemist/models/family.py", "", "from ..raters import meta as m",
      "alchemist/models/family.py: imports raters.meta, and models may not import from raters"),
    d(arrow_complaints, "alchemist/models/family.py", "", "import_module('alchemist.raters.meta')",
      "alchemist/models/family.py: imports raters.meta, and models may not import from raters"),
    d(arrow_complaints, "alchemist/pools/truth.py", "", "def f():\n    import alchemist.models.batch",
      "alchemist/pools/truth.py: imports models.batch, and pools may not import from models"),
    d(arrow_complaints, "alchemist/raters/meta.py", "", "from alchemist.families import flux",
      f"alchemist/raters/meta.py: imports families.flux, {OWN}"),
    d(arrow_complaints, "alchemist/families/star/network.py", "", "import alchemist.families.flux.settings",
      f"alchemist/families/star/network.py: imports families.flux.settings, {OWN}"),
    d(arrow_complaints, "alchemist/models/family.py", "", "import alchemist.families.star.network",
      f"alchemist/models/family.py: imports families.star.network, {OWN}"),
    d(arrow_complaints, "alchemist/families/star/network.py", "", "from ..flux import family",
      f"alchemist/families/star/network.py: imports families.flux.family, {OWN}"),
    d(arrow_complaints, "alchemist/families/star/network.py", "", "from alchemist.raters import meta",
      "alchemist/families/star/network.py: imports raters.meta, and families may not import from raters"),
    d(arrow_complaints, "alchemist/families/star/settings.py", "", "import torch",
      "alchemist/families/star/settings.py: imports torch"),
    d(arrow_complaints, "alchemist/pools/truth.py", "", "from torch import nn",
      "alchemist/pools/truth.py: imports torch"),
    d(family_complaints, "alchemist/deep.py", "", "def sample(top_p): ...",
      "alchemist/deep.py:2: says top_p"),
    d(family_complaints, "alchemist/deep.py", "", "n_tokens = 1", "alchemist/deep.py:2: says tokens"),
    d(family_complaints, "alchemist/deep.py", "", "size = flux_size", "alchemist/deep.py:2: says flux"),
    d(family_complaints, "alchemist/models/family.py", "", "# in nats",
      "alchemist/models/family.py:2: says nats"),
    d(family_complaints, "stages/train.py", "", "generator = StarGenerator()",
      "stages/train.py:14: says Star"),
    d(length_complaints, "alchemist/deep.py", "", "x = 1\n" * 400,
      "alchemist/deep.py: 401 lines, at most 400"),
    d(truth_complaints, "alchemist/deep.py", "", "from alchemist.pools import truth",
      "stages/train.py: reaches alchemist/pools/truth.py"),
    d(truth_complaints, "dvc.yaml", "- data/pool\n", "- data/pool\n      - data/pool/truth.parquet\n",
      "train: depends on data/pool/truth.parquet"),
    d(truth_complaints, "alchemist/deep.py", "", "PATH = 'data/truth.parquet'",
      "alchemist/deep.py: names truth.parquet"),
    d(truth_complaints, "alchemist/deep.py", "", "PATH = 'data/truth/labels.parquet'",
      "alchemist/deep.py: names labels.parquet"),
]  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.says[0])
def test_a_check_finds_its_defect(tmp_path: Path, defect: Defect) -> None:
    assert tuple(defect.check(mini(tmp_path, defect))) == defect.says


def test_no_stage_names_what_is_one_familys_own(tmp_path: Path) -> None:
    root = mini(tmp_path)
    (root / "stages" / "codec.py").write_text("from alchemist.families.star import network\n# tokens\n")
    assert family_complaints(root) == ["stages/codec.py:1: says star", "stages/codec.py:2: says tokens"]


def test_torch_is_found_behind_another_module(tmp_path: Path) -> None:
    root = mini(tmp_path, d(room_complaints, "alchemist/deep.py", "", "import torch"))
    (root / "torch.py").write_text("")
    (root / "stages" / "check.py").write_text("import alchemist.deep\n")
    (root / "stages" / "lazy.py").write_text("def f():\n    import alchemist.deep\n")
    assert torch_complaints(root, "stages.check") == ["stages.check: imports torch"]
    assert torch_complaints(root, "stages.lazy") == []
    assert torch_complaints(root, "stages.lazy", "stages.check") == ["stages.check: imports torch"]
    assert torch_complaints(root, "stages.missing")[0].startswith("stages.missing: cannot be imported")


def test_a_kind_column_is_found(tmp_path: Path) -> None:
    columns = ["caption", "split", "group", "status", "reason", "lent", "cluster", "pixels", *PLACE]
    pd.DataFrame({name: ["x"] for name in [*columns, "kind"]}).to_parquet(tmp_path / "index.parquet")
    assert index_complaints(tmp_path) == ["index.parquet: column kind"]
