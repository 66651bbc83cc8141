import json
import re
from pathlib import Path

import pandas as pd
import pytest
from report_helpers import part, run, text

from alchemist.analysis.words import DASH, TIMES
from alchemist.core import files


def test_result_rows_floors_and_the_papers_numbers(world: Path) -> None:
    shown = part((world / "reports" / "index.html").read_text(), "results")
    epochs, images, best = (text(piece) for piece in shown.split("<h3>")[1:])
    number = {"full": 0, "topk": 3}
    for at, seen in ((epochs, 6000), (images, 12000), (best, 9000)):
        fd = 600 - seen / 100 + number["topk"]
        gap = number["topk"] - 2  # random is the cell before
        held_out, train = 5.2 - seen / 30000, 5 - seen / 20000
        losses = f"{held_out:.3f} +{held_out - train:.3f}"
        assert (
            f"topk Top-K on alchemist 50 % 102 {seen:,} {seen / 102:.2f} {losses} {fd:.1f} +{gap:.1f}" in at
        )
        assert re.search(
            r"full all usable pairs 100 % 203 12,000 59\.11 4\.800 \+0\.400 480\.0 .* 17\.48 0\.2336", at
        )
        assert f"real images against real 33.1 {DASH} 0.1 79.00 {DASH}" in at
        assert f"real images through the image codec 88.8 30.2 {DASH} 71.25 {DASH}" in at
    assert re.search(r"alchemist Shift-Gsample on alchemist 20 % .*? 18\.22 0\.2277", epochs)
    assert re.search(r"random at random 20 % .*? 20\.69† 0\.2219†", epochs)
    assert re.search(r"topk Top-K on alchemist 20 % .*? 48\.20 0\.1945", epochs)
    assert "loss Shift-Gsample on loss 50 % 102 6,000 58.82 5.000 +0.300 545.0 +3.0" in epochs


def test_summary_has_few_short_keys(world: Path) -> None:
    held = json.loads((world / "reports" / "summary.json").read_text())
    assert held == {
        "ratio": 0.5, "fd_full": 480.0, "fd_rnd": 542.0, "fd_alc": 544.0,
        "fd_coded_full": 380.0, "fd_coded_rnd": 442.0, "fd_coded_alc": 444.0,
        "kid_full": 0.38, "kid_rnd": 0.46, "kid_alc": 0.48,
        "clip_full": 10.0, "clip_rnd": 8.8, "clip_alc": 8.6,
        "nll_full": 4.8, "nll_rnd": 5.04, "nll_alc": 5.08,
    }  # fmt: skip
    page = text((world / "reports" / "index.html").read_text())
    assert all(key in page for key in held)


def test_table_holds_the_scores_bit_by_bit(world: Path) -> None:
    table = pd.read_csv(world / "reports" / "table.csv", dtype=str, keep_default_na=False)
    found = 0
    for name, rows in table.groupby("cell"):
        held = json.loads((world / "data" / "scores" / name / "figures.json").read_text())
        for at in held["checkpoints"]:
            for point in at["points"]:
                (row,) = rows[rows["point"] == point].to_dict("records")
                for key in set(at) - {"points", "sheet"}:
                    assert float(row[key]) == at[key]
                assert int(row["subset_pairs"]) == held["subset_pairs"]
                found += 1
    assert found == len(table) == 3 + 10 * 3
    assert set(table["pool"]) == {"emoji"}
    assert set(table["scale"]) == {"tiny"}


def test_figures_of_further_networks_stand_beside_the_first(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the words of their own network, with their floors, and in the table under their full names."""
    for path in copy.rglob("figures.json"):
        held = files.read_json(path)
        held["names"] |= {"fid_clean": "fid_clean", "kid_clean": "kid_clean", "cmmd": "cmmd"}
        held["floors"] |= {"fid_clean": 3.25, "kid_clean": 0.0004, "cmmd": 0.021}
        for at in held["checkpoints"]:
            at |= {"fid_clean": 7.0 + at["images"] / 1000, "kid_clean": 0.002, "cmmd": 0.5}
        files.write_json(path, held)
    run(copy, monkeypatch)
    shown = text(part((copy / "reports" / "index.html").read_text(), "results"))
    assert f"NLL FID (clean-fid) KID (clean-fid) {TIMES} 1000 CMMD" in shown, shown[:900]
    assert f"real images against real 33.1 {DASH} 0.1 79.00 {DASH} 3.2 0.4 0.021" in shown
    assert re.search(r"full all usable pairs .* 19\.0 2\.0 0\.500", shown)
    table = pd.read_csv(copy / "reports" / "table.csv")
    assert set(table["cmmd"]) == {0.5}
    assert {"fd_lite0", "fid_clean", "kid_clean"} <= set(table.columns)
