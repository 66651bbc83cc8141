"""Digests of what cells began with: whether arms are comparable, and where the digests stand."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from report_helpers import hashed, part, run, text

from alchemist.core import files
from alchemist.core.refusal import Refusal
from stages import revision


def test_arms_of_a_model_and_seed_that_begin_alike_are_told_so_with_their_digests(three: Path) -> None:
    section = part((three / "reports/index.html").read_text(), "facts")
    said = text(section)
    assert "All arms of one model and seed start from equal weights." in said
    assert "Warning" not in said
    assert f"xs 1 14 cells {hashed('xs', 1)[:16]} xs 2" in said
    assert f"s 0 2 cells {hashed('s', 0)[:16]}" in said
    assert hashed("xs", 1)[:17] not in said
    assert f"full 0, 1, 2 203 {hashed('full', 1.0, 0)[:16]}" in said
    for seed in (0, 1):
        assert f"topk, 20 % {seed} 41 {hashed('topk', 0.2, seed)[:16]}" in said
    rows = pd.read_csv(three / "reports/tables/provenance.csv").set_index("cell")
    assert len(rows) == 48
    assert rows.loc["topk-0.2-xs-2", "initial_sha256"] == hashed("xs", 2)
    assert rows.loc["topk-0.2-xs-2", "ids_sha256"] == hashed("topk", 0.2, 2)


def test_an_arm_that_begins_elsewhere_is_warned_of(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "data/scores/topk-0.5-xs-0/figures.json"
    files.write_json(path, files.read_json(path) | {"initial_sha256": "f" * 64})
    said = text(part((run(copy, monkeypatch) / "index.html").read_text(), "facts"))
    assert "Warning. Not all arms of xs, seed 0 start from equal weights" in said
    assert "All arms" not in said
    assert f"xs 0 1 cell {'f' * 16}" in said


def test_the_commit_of_the_page_is_there_and_whether_files_are_edited(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the page says of a commit without edits is asked of `in_words` alone, which the stage calls."""

    def git(*words: str) -> str:
        who = ("-c", "user.name=x", "-c", "user.email=x@example.org")
        done = subprocess.run(["git", *who, *words], cwd=copy, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(copy.parent))
    monkeypatch.chdir(copy)
    assert revision.in_words() == "unknown, outside of git"
    (copy / "dvc.yaml").write_text("stages: {}\n")
    git("init", "-q")
    git("add", "dvc.yaml")
    git("commit", "-qm", "as it is")
    head = git("rev-parse", "HEAD")
    assert revision.in_words() == head
    (copy / "dvc.yaml").write_text("stages: {} # edited\n")
    said = text(part((run(copy, monkeypatch) / "index.html").read_text(), "facts"))
    assert f"commit of the page {head}, with edits in 1 of the files that make figures seeds of" in said


@pytest.mark.parametrize("key", ["ids_sha256", "initial_sha256", "sheet"])
def test_a_cell_of_an_earlier_version_is_told_in_a_sentence(
    copy: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    path = copy / "data/scores/topk-0.5-xs-0/figures.json"
    score = files.read_json(path)
    (score if key in score else score["checkpoints"][0]).pop(key)
    files.write_json(path, score)
    said = "data/scores/topk-0.5-xs-0 is of an earlier version of this code, which noted less; run dvc repro."
    with pytest.raises(Refusal, match=said):
        run(copy, monkeypatch)
