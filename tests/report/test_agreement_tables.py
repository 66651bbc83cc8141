import itertools
import re
from pathlib import Path

import numpy as np
import pandas as pd
from report_helpers import part, text

from alchemist.analysis.words import DASH, MINUS


def test_agreement_is_over_seeds_and_a_rater_meets_itself(three: Path) -> None:
    said = text(part((three / "reports" / "index.html").read_text(), "agreement"))
    tables = [pd.read_parquet(three / "data/ratings/loss" / f"{s}.parquet").set_index("id") for s in range(3)]
    ranks = [table["rating"].rank().reindex(tables[0].index) for table in tables]
    pairs = [a.corr(b) for a, b in itertools.combinations(ranks, 2)]
    low, mean, high = (f"{v:.3f}".replace("-", MINUS) for v in (min(pairs), np.mean(pairs), max(pairs)))
    assert f"{mean} {low} to {high}" in said
    # A rater without seeds has nothing to meet; random subsets of half share a third by chance.
    assert re.search(rf"clarity .* {DASH} Means over seeds", said)
    assert "keep 50 % : Jaccard index, 0.33" in said.replace("%:", "% :")
