from pathlib import Path

from report_helpers import in_words


def test_the_story_compares_at_the_same_size_and_gives_one_seed_no_interval(world: Path) -> None:
    page = (world / "reports" / "index.html").read_text()
    said = in_words(page)
    assert "There is one seed a cell, so no figure has an interval" in said
    assert "±" not in said
    # alchemist is cell 4 at 0.5, random cell 2, the full data cell 0; 6,000 images are equal epochs.
    assert "at equal epochs it has FD (Lite0) 544.0 (full data 480.0, random 542.0)" in said
    assert "it is not FID" in said
    assert "33.1, and 88.8 once" in said
    # (88.8 - 33.1) / 200
    assert "The image codec limits every figure on these pictures (28 % of their" in said
    assert "PSNR 21.5 dB): codecs.star.refit: true fits one to the pool" in said
