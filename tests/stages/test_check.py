"""`python -m stages.check` tells what is wrong with params.yaml before DVC is started, in one sentence."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import REPO

PARAMS = (REPO / "params.yaml").read_text()
RATIOS = next(line for line in PARAMS.splitlines() if line.startswith("  ratios: "))
SHARES = "it should be a list with at least one item, each a finite number, larger than 0 and less than 1"


def check(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "params.yaml").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "stages.check"], cwd=folder, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL, env={"PYTHONPATH": str(REPO), "PATH": ""},
    )  # fmt: skip


def test_the_repos_params_are_sound_and_nothing_is_written(tmp_path: Path) -> None:
    done = check(tmp_path, PARAMS)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("params.yaml is sound: pool emoji, scale tiny, ")
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (RATIOS, "  ratios: 0.5", f"grid.ratios is 0.5; {SHARES} (write [0.5])."),
        (RATIOS, "  ratios: []", f"grid.ratios is []; {SHARES}."),
        (RATIOS, "  ratios: null", f"grid.ratios is null; {SHARES}."),
        (RATIOS, f"{RATIOS}\n  ratios: [0.3]", "params.yaml has the key ratios twice in one block,"),
        ("raters: [alchemist, best, random]", "raters: alchemist",
         "grid.raters is 'alchemist'; it should be a list, each text (write ['alchemist'])."),
        ("device: auto", "device: auto\nscale: tiny", "params.yaml has the key scale twice in one"),
        ("    base: tiny", "    <<: *tiny", "params.yaml has the alias *tiny in line"),
        ("    base: tiny", "    base: tinny", "scales.small.base is 'tinny', nearest to tiny; legal"),
        ("device: auto", "device: [auto", "params.yaml is no YAML in line"),
        ("device: auto", "devise: auto", "devise is not a known key, nearest to device; legal"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, before: str, after: str, told: str) -> None:
    assert before in PARAMS
    done = check(tmp_path, PARAMS.replace(before, after, 1))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("missing", [True, False])
def test_the_families_beside_are_those_of_the_pipeline(tmp_path: Path, missing: bool) -> None:
    """DVC stumbles over one that is missing before any stage, and would run nothing of one more."""
    pipeline, block = (REPO / "dvc.yaml").read_text(), re.search(r"  others:\n(    .*\n)+", PARAMS)
    assert block is not None
    (tmp_path / "dvc.yaml").write_text(pipeline)
    assert check(tmp_path, PARAMS).returncode == 0
    if missing:
        done, told = (
            check(tmp_path, PARAMS.replace(block[0], "  others: {}\n")),
            "grid.others.flux is missing;",
        )
    else:
        (tmp_path / "dvc.yaml").write_text(pipeline.replace("grid.others.flux.", "grid."))
        done, told = check(tmp_path, PARAMS), "grid.others has flux, of which dvc.yaml has no stages;"
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(f"error: {told}")
