"""The section on copies: figures, and the pictures of the largest clusters of other splits."""

from pathlib import Path

import pandas as pd
import pytest
from report_helpers import COPIES, EVIL, part, run, text

from alchemist.core import files


def test_a_composed_pool_has_no_such_section(world: Path) -> None:
    page = (world / "reports/index.html").read_text()
    assert 'id="copies"' not in page
    assert 'href="#copies"' not in page


def test_figures_and_the_largest_clusters_stand_there(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copy / "data/pool/index.parquet"
    index = pd.read_parquet(path)
    pool = index.index[(index["split"] == "pool") & (index["status"] == "ok")]
    held = index.index[index["split"] == "evaluation"]
    rows = [pool[7], held[2], held[0]]
    index.loc[held[2], ["status", "reason"]] = "rejected", "near copy"
    index.to_parquet(path, index=False)
    captions = [f"{EVIL} & more", "word " * 40, "\u202ex\0"]
    cluster = {"size": 40, "split": "evaluation", "ids": list(index.loc[rows, "id"]), "captions": captions}
    ours = cluster | {"split": "pool", "ids": list(index.loc[pool[:2], "id"]), "captions": ["ours", "ours"]}
    files.write_json(copy / "data/pool/copies.json", COPIES | {"largest": [ours, cluster]})
    files.write_manifest(copy / "data/pool")
    section = part((run(copy, monkeypatch) / "index.html").read_text(), "copies")
    said = text(section)
    assert "from a cosine of 0.9 of their pictures' features on, two of other captions from 0.97 on." in said
    assert f"Of each cluster in the split pool 2 stayed: {COPIES['why']}." in said
    for words in ("copies of another pair 617, 50.0 %", "distinct captions 900", "25.0 %", "33.3 %",
                  "left out: near copy 400", "split of the first of their cluster 17",
                  "measured by and not rated 21"):  # fmt: skip
        assert words in said, words
    assert section.count('<img src="data:image/png;base64,') == 3
    assert len(set(section.split('<img src="')[1:])) == 3
    assert EVIL not in section
    assert "ours" not in said, "what one explores is not shown twice"
    assert f"{EVIL} & more" in said
    assert "left out word word" in said
    assert "word " * 20 not in said
    assert "\\u202ex\\x00" in said


def test_without_a_search_the_page_says_so(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**COPIES["settings"], "find": False}  # type: ignore[dict-item]
    files.write_json(copy / "data/pool/copies.json", COPIES | {"settings": settings})
    files.write_manifest(copy / "data/pool")
    said = text(part((run(copy, monkeypatch) / "index.html").read_text(), "copies"))
    assert "Near copies were not looked for; pairs with equal pixels are copies." in said
    assert "largest clusters" not in said
