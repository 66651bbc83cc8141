import re
from pathlib import Path

import pytest
from report_helpers import part, run, text

from alchemist.analysis.words import DASH
from alchemist.core import files
from alchemist.core.refusal import Refusal


def categorised(folder: Path) -> None:
    """Figures of three categories: many images, few, and one."""
    for number, path in enumerate(sorted(folder.glob("data/scores/*/figures.json"))):
        held = files.read_json(path)
        for at in held["checkpoints"]:
            share = at["images"] / 12000
            at["categories"] = {
                "art": {"n": 3000, "reference_n": 3001, "clip_lit": 20 + share, "fd_lite0": 90.0 + number},
                "food <b>": {"n": 40, "reference_n": 50, "clip_lit": 30 + share, "kid_lite0": 0.001},
                "logo": {"n": 1, "reference_n": 5, "clip_lit": 40 - number},
            }
        floor = {"n": 3000, "reference_n": 3001, "clip_lit": 25.0}
        held["category_floors"] = {
            "art": floor | {"fd_lite0": 11.0}, "food <b>": floor | {"kid_lite0": 0.0005}, "logo": floor,
        }  # fmt: skip
        files.write_json(path, held)


def test_every_arm_has_its_figures_of_each_category(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    categorised(copy)
    page = (run(copy, monkeypatch) / "index.html").read_text()
    clip, fd, kid = (text(piece) for piece in part(page, "categories").split("<h3>")[1:])
    assert (
        "CLIP-Score (LiT) by category selection at all images 6, 6 art 3,000, 3,001 food <b> 40, 50 logo 1, 5"
        in clip
    )
    assert "full equal epochs 10.00 21.00 31.00" in clip
    assert "full equal images 10.00 21.00 31.00" in clip
    assert re.search(r"topk, 50 % equal epochs \S+ \S+ 20\.50 0\.00 30\.50 0\.00", clip)
    assert "real images 79.00 25.00 25.00 25.00" in clip
    # A distance of the categories alone that have it, and the words that it is biased.
    assert "by category selection at all images 6, 6 art 3,000, 3,001 full" in fd
    assert "real images 33.1 11.0" in fd
    assert "all images 6, 6 food <b> 40, 50 full" in kid
    assert re.search(r"full equal images \S+ 1\.0", kid)
    assert DASH not in clip + fd
    assert "biased upwards by few images" in kid
    assert 'href="#categories"' in page


def test_cells_with_other_floors_of_categories_are_not_compared(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    categorised(copy)
    path = sorted(copy.glob("data/scores/*/figures.json"))[0]
    held = files.read_json(path)
    held["category_floors"]["art"]["fd_lite0"] = 12.0
    files.write_json(path, held)
    with pytest.raises(Refusal, match="differ in category_floors"):
        run(copy, monkeypatch)
