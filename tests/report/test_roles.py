"""The page and the verdicts follow one rule of which selection plays which part."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import in_words, of_table, part, run, text

from alchemist.analysis.roles import Roles
from alchemist.analysis.words import MINUS
from alchemist.core import files


def test_whatever_speaks_of_a_part_follows_the_one_rule(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a rule that casts other selections, everything moves; a second rule would stay behind."""
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    cast = Roles("gsample", "topk", "alchemist", "topk", "random", random="loss", nearest="gsample")
    monkeypatch.setattr(Roles, "of", classmethod(lambda cls, study, family=None: cast))
    reports = run(tmp_path, monkeypatch)

    def mean(selection: str, ratio: float, metric: str) -> float:
        return float(np.mean(of_table(tmp_path, selection, ratio, "equal_epochs", metric)))

    found = files.read_json(reports / "summary.json")
    assert found["fd_alc"] == round(mean("gsample", 0.5, "fd_lite0"), 1)
    assert found["fd_rnd"] == round(mean("loss", 0.5, "fd_lite0"), 1)
    page = (reports / "index.html").read_text()
    story = in_words(page)
    assert "Gsample on the rating alchemist, keeping 50 %" in story.replace("\N{NO-BREAK SPACE}", " ")
    assert f"random {mean('loss', 0.5, 'fd_lite0'):.1f} ±" in story
    rows = pd.read_csv(reports / "verdicts.csv")
    arms = {
        claim: set(re.findall(r", (\w+ less \w+) at", " ".join(of["part"].dropna())))
        for claim, of in rows.groupby("claim")
    }
    assert arms["C1"] == {"gsample less full"}
    assert arms["C2"] == {"gsample less loss"}
    assert arms["C3"] == {
        "gsample less alchemist", "alchemist less topk", "gsample less loss", "alchemist less loss",
        "topk less loss",
    }  # fmt: skip
    assert arms["C4"] == {"gsample less topk"}
    assert arms["C6"] == {"gsample less random"}
    assert "gsample until the final FD of loss" in " ".join(rows.loc[rows["claim"] == "C7", "part"])
    cost = text(part(page, "cost"))
    assert "FD (Lite0) of loss at the same size, as it ends" in cost
    assert "of random at the same size" not in cost
    # Differences in small are those to the part of random.
    gap = mean("topk", 0.2, "fd_lite0") - mean("loss", 0.2, "fd_lite0")
    said = text(part(page, "results")).replace(MINUS, "-").replace("\N{NO-BREAK SPACE}", " ")
    assert re.search(rf"topk Top-K on alchemist 20 % [^a-z]*? {re.escape(f'{gap:+.1f}')} ±", said)
    lines = set(pd.read_csv(reports / "charts" / "paper-6-fd-images.csv")["selection"])
    assert lines == {"full", "gsample", "loss"}
