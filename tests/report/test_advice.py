"""The advice and the signs as a reader sees them, on worlds whose figures are made up."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import build, params, part, run, text

from alchemist.analysis.advice import Beside, Gap
from alchemist.analysis.cost import Spent
from alchemist.core import files
from alchemist.report.advice import PILOTS, _price, arm_words


def told(root: Path) -> dict:
    return json.loads((root / "reports/advice.json").read_text())


def test_one_seed_gets_no_advice_and_says_why(world: Path) -> None:
    said = told(world)
    assert said["take"] is None
    assert "one seed" in said["sentences"][0]
    section = text(part((world / "reports/index.html").read_text(), "advice"))
    assert said["sentences"][0] in section
    assert "Every arm" not in section


def test_three_seeds_get_every_arm_with_its_interval(three: Path) -> None:
    said = told(three)
    section = text(part((three / "reports/index.html").read_text(), "advice"))
    for sentence in said["sentences"]:
        assert " ".join(sentence.split()) in section
    table = pd.read_csv(three / "reports/table.csv")
    table = table[(table["point"] == "equal_images") & (table["model"] == "xs")]
    means = table.groupby(["selection", "ratio"])[["fd_lite0", "nll"]].mean()
    assert len(said["arms"]) == len(means) - 2  # all but the two random subsets
    for one in said["arms"]:
        ours, theirs = means.loc[tuple(one["arm"])], means.loc[tuple(one["against"])]
        for name, column in (("fd", "fd_lite0"), ("nll", "nll")):
            gap = one["difference"][name]
            assert gap["mean"] == pytest.approx(ours[column] - theirs[column])
            assert gap["high"] - gap["low"] == pytest.approx(2 * said["resolves"][name])
    # Cells that stand later in the grid are worse: alchemist is the best half, everything the best of all.
    assert said["take"] == ["full", 1.0]
    assert said["sentences"][0].startswith("Keep everything: beside random at 50\N{NO-BREAK SPACE}% its FD")


def test_advice_comes_to_the_terminal(three: Path) -> None:
    assert told(three)["sentences"][0] in (three / "terminal.txt").read_text()


def test_words_of_arms_and_of_what_a_rating_costs() -> None:
    assert [arm_words(arm) for arm in (("full", 1.0), ("best", 0.5), ("clean", 1.0))] == [
        "everything", "best at 50\N{NO-BREAK SPACE}%", "clean",
    ]  # fmt: skip

    def price(rating: Spent) -> str:
        return _price(Beside(("best", 0.5), ("random", 0.5), {"fd": Gap(-9, 1)}, rating, Spent(20, 2e12)))

    assert price(Spent(5, 8e12)) == " Its rating takes 8.0 TFLOP, 4.00 times one such training run."
    assert price(Spent(5, 0.0)) == " Its rating takes next to nothing."
    assert price(Spent(5, None)) == " Its rating takes 5 s, a training run 20 s."


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pilot's arms, of a pool that is a half copies of one pair; on one of two seeds a gate of zero."""
    root = tmp_path_factory.mktemp("copied")
    held = params(
        selections=["alchemist", "random", "cluster_balance", "caption_quota"], ratios=[0.5], seeds=[0, 1],
        oracles=[], raters=["alchemist", "random"], embeddings=["cluster_balance"],
        heuristics=["copies", "caption_quota"], ablation={"selections": ["without_copies"], "ratios": [1.0]},
    ) | {"scale": "pilot"}  # fmt: skip
    build(root, held, noise=0.5)
    index = root / "data/pool/index.parquet"
    rows = pd.read_parquet(index)
    half = np.flatnonzero(rows["split"] == "pool")[::2]
    rows.loc[half, "cluster"] = rows.loc[half[0], "cluster"]
    rows.to_parquet(index, index=False)
    files.write_manifest(root / "data/pool")
    for seed in (0, 1):
        path = root / f"data/raters/alchemist/{seed}/rating.json"
        gate = {"name": "gate_zero", "value": [0.4, 1e-9][seed], "threshold": 0.001, "fires": bool(seed)}
        files.write_json(path, files.read_json(path) | {"signs": [gate]})
    with pytest.MonkeyPatch.context() as patch:
        run(root, patch)
    return root


def test_copies_warn_and_a_sign_without_evidence_is_a_figure(copied: Path) -> None:
    section = part((copied / "reports/index.html").read_text(), "signs")
    seen = text(section)
    warnings = re.findall(r"<b>Warning\.</b>", section)
    assert "the pool: share of the split pool's pairs that are copies of another of them is 0.4" in seen
    assert "random, 50 %: share of the kept pairs" in seen.replace("\N{NO-BREAK SPACE}", " ")
    assert len(warnings) == 6, "the pool, and what five selections keep"
    row = next(r for r in re.findall(r"<tr.*?</tr>", section, flags=re.S) if "gate of the group" in r)
    assert "1 of 2" in text(row)
    assert "not known to matter" in text(row)


def test_a_pool_without_copies_warns_of_nothing(three: Path) -> None:
    section = text(part((three / "reports/index.html").read_text(), "signs"))
    assert "No sign that is known to go with a worse result fires here." in section
    assert "rank correlation with the low-loss rating of the same seed" in section


def test_an_arm_without_a_random_subset_of_its_size_stands_beside_everything(copied: Path) -> None:
    beside = {tuple(one["arm"]): tuple(one["against"]) for one in told(copied)["arms"]}
    assert beside["without_copies", 1.0] == ("full", 1.0)
    assert beside["full", 1.0] == beside["cluster_balance", 0.5] == ("random", 0.5)
    section = text(part((copied / "reports/index.html").read_text(), "advice"))
    assert "without_copies everything" in section, (
        "in the table the arm without a ratio, and what it stands beside"
    )


def test_a_pilot_says_how_often_pilots_were_right(copied: Path, three: Path) -> None:
    assert told(copied)["sentences"][-1].endswith(PILOTS)
    assert PILOTS not in " ".join(told(three)["sentences"])
