import re
from pathlib import Path

from report_helpers import of_table, part, text

from alchemist.analysis.words import DASH


def test_paper_tables_and_figures_stand_beside_ours(three: Path) -> None:
    page = (three / "reports" / "index.html").read_text()
    said = text(part(page, "paper"))
    fd = of_table(three, "gsample", 0.2, "equal_images", "fd_lite0")
    gap = fd - of_table(three, "random", 0.2, "equal_images", "fd_lite0")
    figure = f"{fd.mean():.1f} ± {fd.std(ddof=1):.1f} {gap.mean():+.1f} ± {gap.std(ddof=1):.1f}"
    assert re.search(
        r"Gsample 20 % LAION-30M STAR-0\.3B gsample xs 19\.22 0\.2248 .*" + re.escape(figure), said
    )
    assert re.search(r"Shift-Gsample 20 % LAION-30M STAR-0\.3B alchemist_no_group xs 18\.37", said)
    # In Table 2 the proxy's model s stands for STAR-0.3B, the rater's xs for STAR-40M.
    assert "Ours 20 % LAION-30M STAR-40M alchemist xs 26.74 0.2059" in said
    assert "Random 20 % LAION-30M STAR-0.3B random s 20.69† 0.2219†" in said
    assert f"Ours 20 % LAION-30M STAR-0.9B {DASH} {DASH} 16.71 0.2356 {DASH} {DASH} {DASH} {DASH}" in said
    made = {path.stem for path in (three / "reports" / "charts").iterdir()}
    assert {"paper-2b-equal_epochs", "paper-2b-equal_images", "paper-3", "paper-6-fd-seconds"} <= made
    # Other pools of this scale, escaped; neither this pool again nor another scale.
    assert f"our pool <i>other</i> {DASH} random xs {DASH} {DASH} 112.0 ± 1.0 7.00 ± 0.00" in said
    assert "<i>other" not in page
    assert "our pool far" not in said
    assert "our pool emoji" not in said
