from pathlib import Path

import numpy as np
import pandas as pd
from report_helpers import params, part, study_of, text

from alchemist.report.pictures import examples, pictured


def test_many_cells_show_the_samples_of_the_first_seed_and_say_so(three: Path) -> None:
    shown = part((three / "reports" / "index.html").read_text(), "samples")
    cells = 1 + 5 * 2 + 3 + 2
    assert shown.count("<img") == cells
    assert f"Only those of seed 0 are shown, to keep the page small; {2 * cells} cells" in text(shown)
    assert "seed 1" not in text(shown)


def test_few_cells_are_all_pictured() -> None:
    study = study_of(params(seeds=[3, 4], selections=["random"], ratios=[0.5]))
    assert pictured(study) == study.cells()


def test_examples_hold_pairs_of_their_decile_and_do_not_depend_on_row_order() -> None:
    rating = pd.Series(np.arange(100.0), index=[f"p{i:02d}" for i in range(100)])
    chosen = examples(rating, 3)
    assert all(90 - 10 * d <= rating[name] < 100 - 10 * d for d, names in enumerate(chosen) for name in names)
    assert [len(set(names)) for names in chosen] == [3] * 10
    assert examples(rating.sample(frac=1, random_state=0), 3) == chosen
