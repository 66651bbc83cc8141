import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image
from report_helpers import params, part, study_of, text

from alchemist.report.pictures import pictured, thumbnail


def test_many_cells_show_the_samples_of_the_first_seed_and_say_so(three: Path) -> None:
    shown = part((three / "reports" / "index.html").read_text(), "samples")
    cells = 1 + 5 * 2 + 3 + 2
    assert shown.count("<img") == cells
    assert f"Only those of seed 0 are shown, to keep the page small; {2 * cells} cells" in text(shown)
    assert "seed 1" not in text(shown)


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
