"""A miniature repo in which every check of tests/pipeline.py and tests/house.py finds nothing."""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Check = Callable[[Path], list[str]]
HEALTHY = {
    "params.yaml": """
        scale: tiny
        grid: {ratios: [0.5, 0.2], seeds: [0, 1]}
        scales:
          tiny: {train: {images: 10}}
          paper: {train: {images: 1000}}
        selections:
          first: {drop: 1}
        report: {title: x}
    """,
    "dvc.yaml": """
        stages:
          train:
            matrix: {ratio: "${grid.ratios}", seed: "${grid.seeds}"}
            cmd: >-
              python -m stages.train --scale ${scale} --family star --pool data/pool --pick first
              --out data/m/${item.ratio}-${item.seed}
            params: [{data/params.json: ["scales.${scale}.train", "selections.first"]}]
            deps:
              - alchemist/deep.py
              - alchemist/method.py
              - alchemist/models
              - alchemist/families/star
              - alchemist/core/settings
              - stages/train.py
              - data/pool
            outs: ["data/m/${item.ratio}-${item.seed}"]
          report:
            cmd: python -m stages.report --models data/m --out reports
            params: [{data/params.json: [scale, scales, report]}]
            deps:
              - alchemist/pools/truth.py
              - stages/report.py
              - data/m
              - alchemist/core/settings
            outs: [{reports: {cache: false}}]
    """,
    "alchemist/__init__.py": "",
    "alchemist/core/settings/__init__.py": "",
    "alchemist/core/settings/budget.py": """
        class Budget(Base):
            images: int
            kind: Literal["only"]
    """,
    "alchemist/method.py": """
        def step(budget):
            from .deep import half
            return half(budget.images)
    """,
    "alchemist/deep.py": "def half(x): return x / 2",
    "alchemist/raters/__init__.py": "",
    "alchemist/raters/meta.py": "",
    "alchemist/models/__init__.py": "",
    "alchemist/models/batch.py": "",
    "alchemist/models/family.py": "def load(name): ...",
    "alchemist/families/__init__.py": "",
    "alchemist/families/star/__init__.py": "",
    "alchemist/families/star/family.py": "from alchemist.families.star.network import FAMILY",
    "alchemist/families/star/network.py": "FAMILY = 'tokens'",
    "alchemist/families/star/settings.py": "from alchemist.core.settings.budget import Budget",
    "alchemist/families/flux/__init__.py": "",
    "alchemist/families/flux/family.py": "FAMILY = 'latents'",
    "alchemist/families/flux/settings.py": "",
    "alchemist/pools/__init__.py": "",
    "alchemist/pools/truth.py": "FILE = 'truth.parquet'",
    "stages/__init__.py": "",
    "alchemist/core/settings/given.py": "def block(kind, key): return section(key)\ndef section(key): ...",
    "stages/train.py": """
        from alchemist import method
        from alchemist.models import family
        from alchemist.core.settings.budget import Budget
        from alchemist.core.settings.given import block, section

        def run(
            scale: str, name: Annotated[str, Option("--family")], which: Annotated[str, Option("--pick")]
        ):
            family.load(name)
            method.step(block(Budget, f"scales.{scale}.train"))
            section(f"selections.{which}")
    """,
    "stages/report.py": """
        from alchemist.pools.truth import FILE
        from alchemist.core.settings.given import block, section

        def run(models, out):
            scale = section("scale")
            for name in ["tiny"]:
                section(f"scales.{name}.train")
            section("report")
    """,
}


@dataclass(frozen=True)
class Defect:
    """In `file`, `old` becomes `new` (which is appended where `old` is empty); `check` should say `says`."""

    check: Check
    file: str
    old: str
    new: str
    says: tuple[str, ...]


def mini(root: Path, defect: Defect | None = None) -> Path:
    """A miniature repo, healthy but for one defect."""
    for name, indented in HEALTHY.items():
        text = textwrap.dedent(indented)
        if defect is not None and name == defect.file:
            assert not defect.old or text.count(defect.old) == 1
            text = text.replace(defect.old, defect.new) if defect.old else f"{text}\n{defect.new}"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def d(check: Check, file: str, old: str, new: str, /, *says: str) -> Defect:
    return Defect(check, file, old, new, says)
