import base64
import io
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image
from report_helpers import params, part, study_of, text

from alchemist.core import files
from alchemist.report.pictures import fitting, last_until, pictured, sheet, thumbnail


def test_many_cells_show_the_samples_of_the_first_seed_and_say_so(three: Path) -> None:
    shown = part((three / "reports" / "index.html").read_text(), "samples")
    cells = 1 + 5 * 2 + 3 + 2
    assert shown.count("<img") == cells
    assert f"Only those of seed 0 are shown, to keep the page small; {2 * cells} cells" in text(shown)
    assert "seed 1" not in text(shown)


def test_a_checkpoint_is_never_one_above_what_is_asked_for() -> None:
    assert [last_until([300, 100], asked) for asked in (99, 100, 299, 300, 1000)] == [0, 100, 100, 300, 300]


def test_checkpoints_are_left_out_at_even_steps_until_they_fit_and_the_last_never() -> None:
    points = [10, 20, 30, 40, 50]
    sizes = {"a": dict.fromkeys(points, 10), "b": {50: 10}}
    assert fitting(points, sizes, 60) == points
    assert fitting(points, sizes, 59) == [10, 30, 50]
    assert fitting(points, sizes, 39) == [20, 50]
    assert fitting(points, sizes, 1) == [50]


def test_the_page_has_the_grid_of_every_checkpoint_and_shows_the_last(three: Path) -> None:
    page = part((three / "reports" / "index.html").read_text(), "samples")
    held = re.search(r'id="earlier-sheets">(.*?)</script>', page, re.S)
    assert held is not None
    cells = json.loads(held[1])
    drawn = re.findall(r'<img src="([^"]*)" alt="Samples of ([^"]*)"', page)
    assert len(cells) == len(drawn) == 16
    for cell, (last, name) in zip(cells, drawn, strict=True):
        whole = [
            at["images"] for at in files.read_json(three / f"data/scores/{name}/figures.json")["checkpoints"]
        ]
        assert [at[0] for at in cell["at"]] == whole
        assert cell["first"].replace(",", "") == str(whole[0])
        uris = [*(at[2] for at in cell["at"][:-1]), last]
        assert cell["at"][-1][2] == ""
        for images, uri in zip(whole, uris, strict=True):
            path = three / f"data/scores/{name}/sheet-{images:09d}.png"
            assert np.abs(pixels(uri) - np.asarray(Image.open(path), dtype=float)).mean() < 4, (name, images)
    assert "checkpoints" not in text(page.split("<form")[0]), "none is left out"


def pixels(uri: str) -> np.ndarray:
    """Of a sample grid of small images, as large as they are."""
    image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB")
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    return np.asarray(half, dtype=float)


def test_small_images_stay_as_they_are_and_large_ones_get_smaller(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for side, width, most in ((32, 512, 80_000), (256, 768, 150_000)):
        colours = rng.integers(256, size=(16, 32, 3), dtype=np.uint8)
        drawn = np.kron(colours, np.ones((side // 4, side // 4, 1), np.uint8))
        Image.fromarray(drawn).save(tmp_path / "sheet.png")
        uri = sheet(tmp_path / "sheet.png")
        assert uri.startswith("data:image/webp;base64,")
        image = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
        assert image.size == (width, width // 2)
        assert len(uri) < most
        if side == 32:  # colours side by side do not run into one another
            assert np.abs(pixels(uri) - drawn).mean() < 6


def test_few_cells_are_all_pictured() -> None:
    study = study_of(params(seeds=[3, 4], selections=["random"], ratios=[0.5]))
    assert pictured(study) == study.cells()


def test_a_thumbnail_is_exact_where_it_is_small_and_a_few_kilobytes_where_it_is_not() -> None:
    small = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    kind, _, data = thumbnail(small).partition(",")
    assert kind == "data:image/png;base64"
    assert (np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))) == small).all()
    large = np.linspace(0, 255, 512 * 256 * 3).reshape(512, 256, 3).astype(np.uint8)
    kind, _, data = thumbnail(large).partition(",")
    assert kind == "data:image/webp;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (48, 96)
    assert len(data) < 10_000


def test_of_a_large_grid_the_first_rows_are_shown(tmp_path: Path) -> None:
    """A picture of WebP has 16,383 pixels of a side at most."""
    rows = np.arange(300, dtype=np.uint8).repeat(64 * 64 * 8 * 3).reshape(300 * 64, 64 * 8, 3)
    Image.fromarray(rows).save(tmp_path / "large.png")
    shown = Image.open(io.BytesIO(base64.b64decode(sheet(tmp_path / "large.png").partition(",")[2])))
    assert shown.size == (512, 512)
    assert abs(int(np.asarray(shown)[-1, 0, 0]) - 7) <= 4
