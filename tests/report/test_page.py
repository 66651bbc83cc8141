import json
import re
from pathlib import Path

import pandas as pd
import pytest
from report_helpers import EVIL, build, in_words, pairs_of, params, part, run, text, written

from alchemist.core import files


def test_a_page_in_one_file_with_escaped_captions(world: Path) -> None:
    page = written(world / "reports")
    assert page.count("<script") == 3  # data of charts, gallery and samples; the library is left out here
    assert EVIL not in page
    assert "prompt 0 of <b>all</b>" in text(page)
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert "url(http" not in page
    assert "prefers-color-scheme: dark" in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', page)) <= {
        pair for name in ids for pair in ((name, ""), ("", name))
    }


def test_every_section_stands_in_its_order(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    wanted = [
        "advice", "overview", "verdicts", "results", "curves", "agreement", "cost", "paper", "makeup",
        "explore", "samples", "rating", "signs", "ledger", "facts",
    ]  # fmt: skip
    assert re.findall(r'<h2 id="(\w+)"', page) == wanted
    assert re.findall(r'<a href="#(\w+)"', page) == wanted
    assert part(page, "samples").count("<img") == 11
    assert "CC BY-SA 4.0" in part(page, "facts")
    assert "psnr 25.25" in text(part(page, "facts"))
    assert "scales.tiny.train.images 9600" in text(part(page, "facts"))
    assert "versions.torch 2.9.1" in text(part(page, "facts"))


def test_equal_inputs_give_equal_bytes_and_cells_beside_the_grid_are_not_read(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "data" / "scores" / "old-0.2-xs-0").mkdir()
    (copy / "data" / "scores" / "old-0.2-xs-0" / "figures.json").write_text("not JSON")
    again = run(copy, monkeypatch, "again")
    first = {p.relative_to(copy / "reports"): p.read_bytes() for p in (copy / "reports").rglob("*.*")}
    assert first == {p.relative_to(again): p.read_bytes() for p in again.rglob("*.*")}
    # Page, tables and advice; of each chart the spec and its rows: the headline, two against what is kept and
    # two against cost, curves, agreement of ratings and of two sizes of subsets, deciles of four raters,
    # rater training, figures 3 and 6 of the paper, the histogram of the gallery.
    charts = 1 + 4 + 4 + 3 + 4 + 5 + 1 + 4 + 1
    # And in two languages: results at three points, verdicts, four tables of the paper.
    assert len(first) == 7 + 2 * charts + 2 * (3 + 1 + 4) + 1  # and the digests


def test_two_seeds_and_no_truth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = {"selections": ["alchemist", "random"], "ratios": [0.5], "seeds": [0, 3], "oracles": []}
    build(tmp_path, params(**grid), planted=False)
    page = (run(tmp_path, monkeypatch) / "index.html").read_text()
    assert "This pool has no planted truth" in page
    assert 'id="makeup"' not in page
    assert "informative" not in text(part(page, "explore"))
    said = text(part(page, "results"))
    # Cells in order: full 0 and 3, alchemist 0 and 3, random 0 and 3. Per seed the CLIP-Score gains
    # 2 and the cell's number costs 0.1: mean 8 + 1 - (2 + 3) / 20 + 3, sd (6 - 0.1) / sqrt(2).
    assert f"{9 - 0.25 + 3:.2f} ± {5.9 / 2**0.5:.2f}" in said
    # Paired with random, only the cell's number is left, which is equal for both seeds.
    assert "+0.20 ± 0.00" in said
    story = in_words(page)
    assert "n = 2 seeds" in story
    assert "no figure has an interval" not in story
    assert "alchemist, 50 % , seed 3" in text(page).replace("%,", "% ,")


def test_captions_prompts_and_categories_of_any_kind_are_shown_short_and_harmless(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pool's strings may be long, turn the direction of writing, or hold what HTML does not escape."""
    path = copy / "data/pool/index.parquet"
    index = pd.read_parquet(path)
    index["caption"] = "\u202e\0" + index["caption"].str.cat(["y" * 100_000] * len(index))
    index.to_parquet(path, index=False)
    files.write_manifest(copy / "data/pool")
    for path in copy.glob("data/scores/*/figures.json"):
        held = files.read_json(path)
        held["grid_prompts"] = ["\u2066\x1b[31m" + "z" * 100_000]
        for at in held["checkpoints"]:
            at["categories"] = {"\u202ecategory" + "c" * 1000: {"n": 30, "reference_n": 30, "clip_lit": 20}}
        held["category_floors"] = {
            name: {"n": 30, "reference_n": 30, "clip_lit": 25} for name in at["categories"]
        }
        files.write_json(path, held)
    page = (run(copy, monkeypatch) / "index.html").read_text()
    assert not set(page) & set("\0\x1b\u202e\u2066")
    for letter in "yzc":
        assert letter * 20 in page
        assert letter * 201 not in page
    said = text(page) + json.dumps(pairs_of(page))
    for words in ("\\u202e\\x00", "\\u2066\\x1b[31mzzz", "\\u202ecategoryccc"):
        assert words in said or words.replace("\\", "\\\\") in said
