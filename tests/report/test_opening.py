"""The first screen: the verdict follows the primary contrast's sign, and the sums count every file once."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from report_helpers import text

from alchemist.analysis.statistics import Contrast, Interval
from alchemist.analysis.words import meaningless
from alchemist.core import files
from alchemist.report.opening import verdict

NAMES = {"fd": "fd_lite0", "kid": "kid_lite0", "clip": "clip_lit"}


def told(metric: str, mean: float, better: Any, **changes: Any) -> tuple[str, str]:
    """The verdict on one contrast of that mean, whose interval is 1 to either side."""
    interval = Interval(3, mean, 0.5, mean - 1, mean + 1, 0.05, 0.25)
    one = Contrast(
        "c", "ours", "random", 0.5, "xs", "equal_epochs", metric, True, {0: mean}, interval, better, None
    )
    held = {
        "decided": [one],
        "names": NAMES,
        "silent": "",
        "meaningless": "",
        "seeds": [0, 1, 2],
        "models": ["xs"],
    } | changes
    study = SimpleNamespace(grid=SimpleNamespace(seeds=held["seeds"]), models=lambda: held["models"])
    material: Any = SimpleNamespace(study=study, primary=next(iter(held["decided"]), None), **held)
    return verdict(material)


@pytest.mark.parametrize(
    ("metric", "mean", "better", "word", "side"),
    [
        ("fd", -3.0, -1, "verified", "better"),
        ("fd", 3.0, -1, "falsified", "worse"),
        ("fd", 0.5, -1, "inconclusive", "not told apart"),
        ("clip", 3.0, 1, "verified", "better"),
        ("clip", -3.0, 1, "falsified", "worse"),
        ("nll", 1.5, -1, "falsified", "worse"),
    ],
)
def test_the_word_is_that_of_the_side_which_the_metric_finds_better(
    metric: str, mean: float, better: int, word: str, side: str
) -> None:
    found, sentence = told(metric, mean, better)
    assert found == word
    assert side in sentence
    assert sentence.endswith("at equal epochs, 3 seeds.")


def test_what_was_not_asked_or_says_nothing_is_not_tested() -> None:
    assert told("fd", -3.0, -1, seeds=[0])[0] == "not tested"
    assert told("fd", -3.0, -1, decided=[])[0] == "not tested"
    assert told("clip", 3.0, 1, silent="The scorer tells nothing.") == (
        "not tested",
        "The scorer tells nothing.",
    )
    assert "ours at 50\N{NO-BREAK SPACE}%, model xs, is better" in told("fd", -3.0, -1, models=["xs", "s"])[1]


def test_a_scale_that_is_not_meaningful_has_no_verdict_whatever_its_interval_says() -> None:
    said = meaningless("quick")
    assert "quick" in said
    assert told("fd", -3.0, -1, meaningless=said) == ("not meaningful", said)


def test_time_and_cost_have_every_run_once(three: Path) -> None:
    """Also those of raters without seeds, whose one table stands under every seed."""
    timings = three / "data/timings"
    seconds, flops = 0.0, 0.0
    for path in timings.rglob("*.json"):
        took = files.read_json(path)
        kind = path.relative_to(timings).parts[0]
        seconds += took[f"{kind}_seconds"] if kind in ("train", "evaluate") else took["seconds"]
    for path in three.glob("data/raters/*/*/rating.json"):
        told = files.read_json(path)
        if path.parts[-3] != "random":
            flops += told["train_flops"] + told["score_flops"]
    for path in three.glob("data/scores/*/figures.json"):
        flops += files.read_json(path)["train_flops"]
    page = text((three / "reports/index.html").read_text())
    assert f"time {seconds / 60:.0f} min of stages, ratings and cells" in page
    assert f"cost {flops / 1e12:.1f} TFLOP of rating and training" in page
