"""Progress: a bar on a terminal, lines where there is none, and nothing of what was never begun."""

import re
import subprocess
import sys

import pytest
from terminal import REPO, on_terminal

from alchemist.core import progress

CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
WORK = """
import time
from alchemist.core import progress
with progress.bar(total=100, desc="train ours") as bar:
    for seen in range({steps}):
        time.sleep({pause})
        bar.set_postfix_str(f"loss {{seen}}", refresh=False)
        bar.update(50)
"""


def test_a_log_has_lines_with_rate_and_time_left_and_no_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "MINUTE", 0.0)
    with progress.bar(total=40, desc="train ours") as bar, progress.bar(total=2, desc="score") as other:
        for seen in range(10, 50, 10):
            bar.set_postfix_str(f"loss {seen}", refresh=False)
            bar.update(10)
        other.update(2)
    said = capsys.readouterr().err
    assert not CONTROL.search(said)
    lines = [line for line in said.splitlines() if line.startswith("train ours")]
    assert [line.split()[2] for line in lines if "loss" in line] == ["10", "20", "30", "40", "40"]
    shape = r"train ours: 30 of 40 img, [ \d.?]+(img/s|s/img), \d\d:\d\d gone, [\d:?]+ left, loss 30"
    assert any(re.fullmatch(shape, line) for line in lines)
    assert "score: 2 of 2 img" in said


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of bars, in seconds, which a test sets."""
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    return clock


def test_a_log_has_a_line_a_minute(capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
    """However often it is updated, and none of work that takes less."""
    with progress.bar(total=1000, desc="long") as bar:
        for _ in range(1000):
            now[0] += 1
            bar.update(1)
    # That of the end is said whenever the last was.
    assert [int(line.split()[1]) for line in capsys.readouterr().err.splitlines()] == [
        *range(60, 1000, 60),
        1000,
    ]
    with progress.bar(total=50, desc="short") as bar:
        for _ in range(50):
            now[0] += 1
            bar.update(1)
    assert capsys.readouterr().err == ""


def test_what_was_done_before_counts_and_is_no_speed(
    capsys: pytest.CaptureFixture[str], now: list[float]
) -> None:
    with progress.bar(total=1000, desc="resumed") as bar:
        tell = progress.hears(bar)
        now[0] = 50  # of reading what was saved
        tell(800, progress.RESUMED)
        for _ in range(100):
            now[0] += 1
            tell(1, "")
    first = capsys.readouterr().err.splitlines()[-1]
    assert first == "resumed: 900 of 1000 img,  1.00img/s, 01:40 gone, 01:40 left"


def test_a_terminal_has_a_bar() -> None:
    code, said = on_terminal(WORK.format(steps=2, pause=1.2))
    assert code == 0
    assert "\r" in said
    assert re.search(r"train ours:  50%\|.*\| 50/100 \[00:01<00:01, .*img/s, loss 0\]", said)
    assert re.search(r"train ours: 100%\|.*\| 100/100 \[", said)
    assert max(len(part.strip("\n")) for part in said.split("\r")) <= 100


def test_a_terminal_that_does_not_say_how_wide_it_is_gets_lines() -> None:
    code = WORK.format(steps=2, pause=0).replace(
        "import time", "import time\nfrom alchemist.core import progress as p"
    )
    code = code.replace("with", "p.MINUTE = 0\nwith")
    assert "train ours: 100 of 100 img" in on_terminal(code, columns=0)[1]


def test_work_goes_on_where_standard_error_is_closed() -> None:
    code = WORK.format(steps=2, pause=0) + "print('done')"
    done = subprocess.run(
        ["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, code], cwd=REPO, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("shown", [True, False])
def test_of_what_was_not_begun_or_is_of_another_process_nothing_is_said(shown: bool) -> None:
    done = 0 if shown else 5
    code = "from alchemist.core.progress import bar\n"
    code += f"with bar(total=5, desc='x', shown={shown}) as b: b.update({done})"
    assert on_terminal(code) == (0, "")


@pytest.mark.parametrize(
    ("count", "seconds", "says"),
    [
        (9600, 45.04, "9,600 images in 45.0 s, 213 a second"),
        (9600, 59.6, "9,600 images in 1 min 0 s, 161 a second"),
        (8000, 3725.0, "8,000 images in 62 min 5 s, 2.1 a second"),
        (5, 0.0, "5 images in 0.0 s"),
        (9, 40.0, "9 images in 40.0 s, 0.23 a second"),
    ],
)
def test_a_closing_line_says_how_fast(count: int, seconds: float, says: str) -> None:
    assert progress.took(count, "images", seconds) == says
