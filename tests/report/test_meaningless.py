"""A scale whose figures mean nothing: the page says so first, and has neither verdict nor advice."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from report_helpers import run, text

from alchemist.core import files

SAID = "The scale tiny is for a look at the parts: so short a run has no figure that means anything."


def test_nothing_is_said_to_hold(three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    params = files.read_sealed(tmp_path / "data/params.json")
    params["scales"]["tiny"]["meaningful"] = False
    files.write_json(tmp_path / "data/params.json", files.sealed(params))
    reports = run(tmp_path, monkeypatch)
    page = (reports / "index.html").read_text(encoding="utf-8")
    seen = text(page)
    assert seen.index(f"Not meaningful. {SAID}") < seen.index("Alchemist: selecting data")
    assert f"Not meaningful: {SAID}" in seen
    assert "<title>Not meaningful: " in page
    assert set(pd.read_csv(reports / "verdicts.csv")["verdict"]) == {"not tested"}
    assert pd.read_csv(reports / "contrasts.csv").empty
    assert not list((reports / "tables").glob("contrasts-*"))
    assert "in favour of" not in seen
    advice = files.read_json(reports / "advice.json")
    assert (advice["take"], advice["level"], advice["arms"]) == (None, [], [])
    assert advice["sentences"][0] == f"No advice. {SAID}"


def test_a_meaningful_one_is_judged(three: Path) -> None:
    reports = three / "reports"
    assert "Not meaningful" not in (reports / "index.html").read_text(encoding="utf-8")
    assert "not supported" in set(pd.read_csv(reports / "verdicts.csv")["verdict"])
    assert files.read_json(reports / "advice.json")["arms"]
    assert "in favour of" in text((reports / "index.html").read_text(encoding="utf-8"))
