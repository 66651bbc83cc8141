from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import part, run, text

from alchemist.core import files
from alchemist.pools.store import read_index


def test_a_pool_of_compared_images_has_a_figure_a_rater(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(copy / "data/pool")
    ids = index.loc[(index["split"] == "pool") & (index["status"] == "ok"), "id"]
    rating = pd.read_parquet(copy / "data/ratings/loss/0.parquet").set_index("id")["rating"]
    wins = (rating.reindex(ids) > rating.median()).to_numpy()
    labels = pd.DataFrame({"id": ids, "wins": wins.astype(int), "losses": (~wins).astype(int)})
    rejected = pd.DataFrame({"id": ["bad-0"], "wins": [3], "losses": [0]})
    pd.concat([labels, rejected]).to_parquet(copy / "data/truth/labels.parquet")
    files.write_manifest(copy / "data/truth")
    page = (run(copy, monkeypatch) / "index.html").read_text()
    told = text(part(page, "agreement"))
    rows = told[told.index("AUC of each rating for what people preferred") :]
    assert "loss 1.000" in rows  # its own median parts them without a mistake
    assert "random 0." in rows
    assert np.isfinite(float(rows.split("random ")[1].split()[0]))


def test_other_pools_have_no_such_table(world: Path) -> None:
    assert "what people preferred" not in (world / "reports/index.html").read_text()
