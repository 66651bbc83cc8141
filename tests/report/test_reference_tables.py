import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import part, run, text

from alchemist.core import files
from alchemist.core.refusal import Refusal


def referenced(folder: Path) -> None:
    """Figures by three views: by one the order of the arms is turned, by one it is the same."""
    for path in sorted(folder.glob("data/scores/*/figures.json")):
        held = files.read_json(path)
        held |= {"decides": "once", "n": 6, "reference_n": 7}
        for at in held["checkpoints"]:
            own = {key: value for key, value in at.items() if isinstance(value, float)}
            at["references"] = {
                "as_is": own | {"n": 8, "reference_n": 9, "fd_lite0": 900 - own["fd_lite0"]},
                "clean": own | {"n": 4, "reference_n": 5},
                "once": own | {"n": 6, "reference_n": 7},
            }
        floors = held["floors"]
        held["reference_floors"] = {
            "as_is": floors | {"fd_lite0": 55.5}, "once": floors, "clean": floors | {"fd_lite0": 77.7},
        }  # fmt: skip
        files.write_json(path, held)


def test_every_arm_has_its_figures_and_its_place_by_each_reference(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    referenced(copy)
    page = (run(copy, monkeypatch) / "index.html").read_text()
    section = part(page, "references")
    assert "are by one of them, which decides: copies counted once." in text(section)
    fd, kid, nll, clip = (text(piece) for piece in section.split("<h3>")[1:])
    assert (
        "FD (Lite0) by reference selection at copies counted once, decides 6, 7 "
        "as drawn, copies and all 8, 9 the clean pool 4, 5 full" in fd
    )
    assert "real images 33.1 55.5 77.7" in fd
    best = re.search(r"full equal images (\S+) place 1 (\S+) place (\d+), not 1 (\S+) place 1 ", fd)
    assert best is not None
    assert float(best[2]) == pytest.approx(900 - float(best[1]), abs=0.11)
    assert (best[4], best[3]) == (best[1], "11"), "of eleven arms the last"
    assert "As drawn, copies and all: 55 of 55 pairs of arms stand the other way round at equal images." in fd
    assert "By the one that decides: full before" in fd
    assert "; and 52 more." in fd
    assert "The clean pool: all arms stand in the same order at equal images." in fd
    for other in (kid, nll, clip):
        assert "As drawn, copies and all: all arms stand in the same order" in other
    assert 'href="#references"' in page


def test_every_table_has_all_references_and_holm_is_of_each_its_own(
    three: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    referenced(tmp_path)
    out = run(tmp_path, monkeypatch)
    table, every = (pd.read_csv(out / f"{name}.csv") for name in ("table", "references"))
    assert every["reference"].unique().tolist() == ["once", "as_is", "clean"]
    by_view = {name: rows.reset_index(drop=True) for name, rows in every.groupby("reference")}
    for name, sizes in (("once", (6, 7)), ("as_is", (8, 9)), ("clean", (4, 5))):
        assert set(zip(by_view[name]["n"], by_view[name]["reference_n"], strict=True)) == {sizes}
    pd.testing.assert_frame_equal(by_view["once"][table.columns], table)
    assert np.allclose(by_view["as_is"]["fd_lite0"], 900 - table["fd_lite0"])

    made = pd.read_csv(out / "contrasts.csv")
    assert made["reference"].tolist() == ["once"] * 3 + ["as_is"] * 3 + ["clean"] * 3
    once, as_is, clean = (rows.reset_index(drop=True) for _, rows in made.groupby("reference", sort=False))
    assert np.allclose(as_is["mean"], -once["mean"])
    assert np.allclose(as_is["p_holm"].iloc[1:], once["p_holm"].iloc[1:]), "of two each, and not of six"
    same = once.columns.drop("reference")
    pd.testing.assert_frame_equal(clean[same], once[same])
    said = text(part((out / "index.html").read_text(), "contrasts"))
    heads = ["Copies counted once, decides", "As drawn, copies and all", "The clean pool"]
    places = [said.index(head) for head in heads]
    assert places == sorted(places)
    assert said.count("alchemist_random primary") == 3


def test_a_pool_with_one_reference_has_no_such_section(world: Path) -> None:
    page = (world / "reports/index.html").read_text()
    assert 'id="references"' not in page
    every = pd.read_csv(world / "reports/references.csv")
    assert set(every["reference"]) == {"once"}
    table = pd.read_csv(world / "reports/table.csv")
    pd.testing.assert_frame_equal(every[table.columns], table)
    assert "says nothing here" not in page


def test_cells_by_other_references_are_not_compared(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    referenced(copy)
    path = sorted(copy.glob("data/scores/*/figures.json"))[0]
    held = files.read_json(path)
    for name, wrong in (("decides", "as_is"), ("reference_floors", {})):
        files.write_json(path, held | {name: wrong})
        with pytest.raises(Refusal, match=f"differ in {name}"):
            run(copy, monkeypatch)


def test_a_scorer_that_cannot_tell_is_named_beside_every_clip_score(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "The scorer cannot tell right captions from shuffled ones (36 against 28)."
    for path in copy.glob("data/scores/*/figures.json"):
        files.write_json(path, files.read_json(path) | {"clip_silent": said})
    page = text((run(copy, monkeypatch) / "index.html").read_text())
    assert page.count(said) == 2, "before everything, and under the results"
    assert page.count("CLIP-Score (LiT)") == page.count("CLIP-Score (LiT), which says nothing here") > 2
