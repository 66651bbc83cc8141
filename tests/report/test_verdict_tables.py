import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from report_helpers import in_words, of_table, part, text
from scipy import stats

from alchemist.analysis.statistics import Contrast, Interval
from alchemist.analysis.words import MINUS
from alchemist.report.verdict_tables import contrast_rows


def test_one_seed_gets_no_interval_and_no_verdict_on_generators(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    for section in ("verdicts", "agreement", "cost"):
        assert "There is one seed" in text(part(page, section)), section
    told = text(part(page, "verdicts"))
    claims = ", ".join(f"C{i}" for i in range(1, 9))
    assert (
        f"Not tested by this grid: {claims}, contrasts, figure 2b of the paper. Seeds for intervals" in told
    )
    assert 'class="card"' not in page
    rows = pd.read_csv(world / "reports" / "verdicts.csv")
    assert rows["claim"].tolist() == [f"C{i}" for i in range(1, 9)]
    assert set(rows["verdict"]) == {"not tested"}
    assert pd.read_csv(world / "reports" / "contrasts.csv").empty
    assert "Figure 2b" not in part(page, "paper")  # no block is in the grid


def test_contrasts_are_paired_by_seed_and_holm_leaves_the_primary_alone(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "contrasts.csv").set_index("contrast")
    assert rows.index.tolist() == ["alchemist_random", "alchemist_loss", "alchemist_full"]
    gaps = of_table(three, "alchemist", 0.5, "equal_images", "fd_lite0")
    gaps = gaps - of_table(three, "random", 0.5, "equal_images", "fd_lite0")
    half = stats.t.ppf(0.975, 2) * gaps.std(ddof=1) / 3**0.5
    first = rows.loc["alchemist_random"]
    assert np.allclose(first[["mean", "low", "high"]].tolist(), gaps.mean() + np.array([0, -half, half]))
    assert (first["n"], first["p_flip"], first["favours"]) == (3, 0.25, "alchemist")
    assert np.isnan(first["p_holm"])
    others = rows.iloc[1:]
    assert others["p_holm"].min() == pytest.approx(2 * others["p_t"].min())
    said = text(part((three / "reports" / "index.html").read_text(), "contrasts"))
    roles = ["primary", "secondary", "secondary"]
    places = [said.index(f"{name} {role}") for name, role in zip(rows.index, roles, strict=True)]
    assert places == sorted(places)
    mean = f"{gaps.mean():+.1f} [{gaps.mean() - half:+.1f}, {gaps.mean() + half:+.1f}]".replace("-", MINUS)
    assert f"equal images alchemist 3 {mean}" in said


def test_verdicts_on_the_page_are_those_of_the_file(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "verdicts.csv")
    claims = rows.drop_duplicates("claim").set_index("claim")
    assert claims.index.tolist() == [f"C{i}" for i in range(1, 9)]
    assert {"supported", "not tested"} >= set(claims.loc[["C4"], "verdict"])
    page = (three / "reports" / "index.html").read_text()
    said = text(part(page, "verdicts"))
    for claim, row in claims.iterrows():
        why = f"{claim} {row['sentence']} {' '.join(row['why'].split())}"
        assert (why if row["verdict"] == "not tested" else f"{row['verdict']} {why}") in said
    story = in_words(page)
    first = story[: story.index("The pool emoji holds")]
    assert "n = 3 seeds" in first
    for word, found in claims.groupby("verdict"):
        told = first[first.lower().index(f"{word}: ") :].split(". ")[0]
        assert re.findall(r"C\d", told) == found.index.tolist()
    decided = rows[rows["decides"] == True]  # noqa: E712
    assert set(decided["part_verdict"]) <= {"supported", "not supported", "undecided"}
    for _, row in decided[decided["unit"] == "fd"].iterrows():
        outside = row["low"] > 0 or row["high"] < 0
        assert (row["part_verdict"] == "undecided") != outside


def test_a_rating_that_was_carried_to_another_pool_decides_though_the_grid_has_it_not(three: Path) -> None:
    rows = pd.read_csv(three / "reports" / "verdicts.csv")
    rows = rows[(rows["claim"] == "C8") & (rows["unit"] == "fd") & rows["part"].str.contains("pool ")]
    found = {
        re.search(r"(\w+) less (\w+) at", row["part"]).groups(): row["decides"]  # type: ignore[union-attr]
        for _, row in rows[rows["part"].str.contains("equal epochs")].iterrows()
    }
    assert found == {
        ("alchemist_carried", "random"): True,
        ("alchemist_carried", "alchemist"): False,
        ("alchemist", "random"): False,
    }


def test_rows_of_contrasts_without_any() -> None:
    assert contrast_rows({}).columns.tolist()[:2] == ["contrast", "primary"]
    interval = Interval(3, -1.0, 0.5, -2.2, 0.2, 0.07, 0.25)
    one = Contrast("c", "a", "b", 0.5, "xs", "equal_images", "fd", True, {0: -1.0}, interval, -1, None)
    (row, again) = contrast_rows({"once": [one], "as_is": [one]}).to_dict("records")
    assert (row["arm"], row["low"], row["favours"], row["reference"]) == ("a", -2.2, "", "once")
    assert again == row | {"reference": "as_is"}
