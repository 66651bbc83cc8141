"""What `dvc repro` runs again after an edit of params.yaml, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from workspace import Workspace, small_params


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, forked: Path) -> Workspace:
    made = Workspace(tmp_path_factory.mktemp("space"), forked)
    made.repro()
    return made


def test_a_forked_stage_ends_as_one_with_a_python_of_its_own(forked: Path, tmp_path: Path) -> None:
    """Its words, streams, folder and exit status."""

    def run(python: str | Path, *words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [python, "-m", "stages.check", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout, done.stderr

    for words in ((), ("--help",), ("--none",)):
        assert run(forked / "python", *words) == run(sys.executable, *words)


def test_a_samplers_value_reruns_its_own_cells_alone_a_bases_value_too(space: Workspace) -> None:
    changed = small_params()
    changed["selections"]["narrow"] = changed["selections"]["alchemist"] | {"sigma": 5.0}
    changed["selections"]["alchemist"] = {"base": "narrow"}
    space.write(changed)
    ran = set(space.repro())
    assert {"prune@alchemist-0.5", "train@alchemist-0.5-xs-0", "report"} <= ran
    assert not {name for name in ran if "random" in name or name.startswith(("rate", "train_full"))}


def test_a_second_seed_and_further_cells_run_and_add_nothing_else(space: Workspace) -> None:
    """A second seed, an ablation on a pixel rating, and a transfer to another model."""
    wide = small_params()
    wide["grid"] |= {
        "seeds": [0, 1],
        "ablation": {"selections": ["clarity"], "ratios": [0.4]},
        "transfer": {"selections": ["random"], "ratios": [0.5], "models": ["xxs"]},
    }  # fmt: skip
    wide["models"]["xxs"] = wide["models"]["xs"] | {"width": 24, "heads": 2}
    wide["statistics"] = {"primary": "alchemist_random", "secondary": [], "confidence": 0.95}
    space.write(wide)
    ran = space.repro()
    arms = ("random-0.5", "alchemist-0.5")
    new = {
        "check",
        "sizes",
        "report",
        "train_full@full-xs-1",
        "evaluate_full@full-xs-1",
        "prune_ablation@clarity-0.4",
    }
    new |= {f"rate@{rater}-1" for rater in ("alchemist", "random")} | {f"prune@{arm}" for arm in arms}
    for verb in ("train", "evaluate"):
        new |= {f"{verb}@{arm}-xs-1" for arm in arms}
        new |= {f"{verb}_ablation@clarity-0.4-xs-{s}" for s in (0, 1)}
        new |= {f"{verb}_transfer@random-0.5-xxs-{s}" for s in (0, 1)}
    # The sampler's value of the test before is taken back: its cell of seed 0 comes from the run cache.
    assert new <= set(ran) <= new | {f"{verb}@alchemist-0.5-xs-0" for verb in ("train", "evaluate")}
    subsets = [
        set(pd.read_parquet(space.folder / f"data/subsets/alchemist/0.5/{s}.parquet")["id"]) for s in (0, 1)
    ]
    assert subsets[0] != subsets[1]
    contrasts = pd.read_csv(space.folder / "reports/contrasts.csv")
    assert len(contrasts) == 1
    verdicts = pd.read_csv(space.folder / "reports/verdicts.csv")
    assert set(verdicts["claim"]) == {f"C{i}" for i in range(1, 9)}
