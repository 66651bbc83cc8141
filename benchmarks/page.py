"""The report of a large grid: seconds and memory of its stage, size of the page, seconds until it is drawn.

    python -m benchmarks.page [--pairs 100000] [--seeds 7]

Seven selections at four ratios and the full data, 29 cells a seed, two seeds at least. The pool is composed,
ratings, figures and sample grids are made up, as the tests of the report make theirs; the stage is the real
one, in a process of its own.
"""

import argparse
import importlib
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from alchemist.core import process

REPO = Path(__file__).parents[1]
SELECTIONS = ("alchemist", "random", "topk", "gsample", "loss", "block40", "alchemist_no_group")


def helpers() -> Any:
    """What the tests of the report build their data with."""
    sys.path.insert(0, str(REPO / "tests"))
    return importlib.import_module("report_helpers")


def build(root: Path, pairs: int, seeds: int) -> None:
    """The folders that the stage reads."""
    made = helpers()
    made.PAIRS = pairs  # of the pool, whose ids ratings and subsets are of
    held = made.params(
        selections=list(SELECTIONS), ratios=[0.5, 0.4, 0.3, 0.2], oracles=[], seeds=list(range(seeds)),
        raters=["alchemist", "alchemist_no_group", "loss", "random"],
    )  # fmt: skip
    held["statistics"] |= {"primary": "alchemist_random", "secondary": ["alchemist_loss"]}
    made.build(root, held, noise=0.5)


def report(root: Path, told: "multiprocessing.SimpleQueue[tuple[float, float]]") -> None:
    """Runs the stage; tells seconds and peak MiB."""
    import pytest

    made, began = helpers(), time.perf_counter()
    with pytest.MonkeyPatch.context() as patch:
        made.run(root, patch)
    told.put((time.perf_counter() - began, process.peak() / 2**20))


def drawn(page: Path) -> float | None:
    """Seconds from opening a page until its charts are drawn; None without a browser."""
    from playwright.sync_api import sync_playwright

    if (found := helpers().chromium()) is None:
        return None
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        one = browser.new_page()
        began = time.perf_counter()
        one.goto(page.as_uri())
        one.wait_for_function("document.documentElement.dataset.drawn === 'yes'", timeout=120_000)
        seconds = time.perf_counter() - began
        browser.close()
    return seconds


def main() -> None:
    """Prints the figures, each beside its goal."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=7)
    asked = parser.parse_args()
    alone = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        root, told = Path(folder), alone.SimpleQueue()
        for work, words in ((build, (root, asked.pairs, asked.seeds)), (report, (root, told))):
            child = alone.Process(target=work, args=words)
            child.start()
            child.join()
            if child.exitcode:
                raise SystemExit(1)
        seconds, mib = told.get()
        page = root / "reports/index.html"
        print(f"{asked.pairs:,} pairs, {len(SELECTIONS) * 4 * asked.seeds + asked.seeds} cells")
        print(f"seconds of the stage  {seconds:8.1f}  goal <= 60")
        print(f"peak MiB              {mib:8.0f}  goal <= 2,048")
        print(f"MB of the page        {page.stat().st_size / 1e6:8.1f}  goal <= 10")
        opened = drawn(page)
        print("no browser is here" if opened is None else f"seconds until drawn   {opened:8.1f}  goal <= 2")


if __name__ == "__main__":
    main()
