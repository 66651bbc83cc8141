import re
from pathlib import Path

from report_helpers import part, text

from alchemist.analysis.words import DASH


def test_costs_stand_in_seconds_and_operations(three: Path) -> None:
    said = text(part((three / "reports" / "index.html").read_text(), "cost"))
    # 20 % of the full data's 40 s and 3 TFLOP, 55 s and 4 TFLOP of the rater, 5 s and 0.5 of scoring.
    assert (
        f"alchemist, 20 % xs 1.5 s 0.20 TFLOP {DASH} 55.0 s 4.00 TFLOP 5.0 s 0.50 TFLOP 8.0 s 0.60 TFLOP "
        "68.0 s 5.10 TFLOP 20.0 170.0"
    ) in said
    assert "clarity 203" in said
    # And the most memory of each; a dash where nobody looked.
    assert f"prepare 1.5 {DASH} {DASH}" in said
    assert "encode@star 1.5 0.20 2.5 GiB" in said
    assert re.search(r"full-xs-0 [\d,]+ 40.0 [\d.]+ 7.0 GiB 21.0 2.0 GiB", said)
    assert re.search(r"alchemist 203 .*?60.0 s 4.50 TFLOP 1.0 GiB", said)
    assert "Against random at equal size, until its final FD (Lite0)" in said
    assert "Against random at equal size, until its final NLL" in said


def test_a_factor_stands_until_randoms_final_figure_and_until_its_best(three: Path) -> None:
    said = text(part((three / "reports" / "index.html").read_text(), "cost"))
    table = said.partition("until its final FD (Lite0) and until its best")[2]
    assert table.strip().startswith("subset until its read as images")
    kinds = "(?:exact|at most|at least|unknown)(?:, (?:exact|at most|at least|unknown))*"
    rows = re.findall(rf"(\w+, \d+ %) (final|best) {kinds} ", table.partition("until its final NLL")[0])
    assert len(rows) > 0
    assert [goal for _, goal in rows] == ["final", "best"] * (len(rows) // 2)
    assert [arm for arm, _ in rows][::2] == [arm for arm, _ in rows][1::2]
