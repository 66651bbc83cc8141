"""How far long work is: a bar on a terminal, and without one a line a minute."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from tqdm import tqdm

MINUTE = 60.0  # seconds between two lines of a log; work that ends sooner has none
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}"
RESUMED = "resumed"  # the words of what a run before did


def bar(
    over: Iterable[Any] | None = None,
    *,
    desc: str,
    total: int | None = None,
    unit: str = "img",
    shown: bool = True,
    leave: bool = True,
) -> "tqdm[Any]":
    """Progress `over` something, or of `total` units, on standard error.

    `unit` stands behind counts and rates. With `shown` false nothing is said, as of all processes of a
    launcher but the writer; with `leave` false a bar is gone when it ends.
    """
    # A bar that was never moved, as of work that was refused or is done already, is never drawn (delay).
    common: dict[str, Any] = {
        "iterable": over, "desc": desc, "total": total, "unit": unit, "leave": leave,
        "disable": not shown or sys.stderr is None,
    }  # fmt: skip
    if _columns():
        return tqdm(**common, mininterval=1, delay=1e-3, dynamic_ncols=True)
    lines: Any = _Lines(sys.stderr)
    return tqdm(**common, file=lines, mininterval=MINUTE, miniters=1, delay=MINUTE, bar_format=LINE)


def begun(drawn: "tqdm[Any]", done: int) -> None:
    """Units that a run before did: they count, and are no speed; time begins now."""
    if not drawn.disable:
        drawn.initial += done
        drawn.n += done
        drawn.last_print_n = drawn.n
        drawn.unpause()


def hears(drawn: "tqdm[Any]") -> Callable[[int, str], None]:
    """What a training tells of its steps: how many images more, and its loss in words or `RESUMED`."""

    def told(count: int, words: str) -> None:
        drawn.set_postfix_str(words, refresh=False)
        if words == RESUMED:
            begun(drawn, count)
        else:
            drawn.update(count)

    return told


def took(count: int, units: str, seconds: float) -> str:
    """How much was done in what time, and how fast, for the line that closes a stage."""
    minutes, rest = divmod(round(seconds), 60)
    time = f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
    rate = count / seconds if round(seconds, 1) else 0.0
    speed = f", {rate:,.0f} a second" if rate >= 10 else f", {rate:.2g} a second" if rate else ""
    return f"{count:,} {units} in {time}{speed}"


def _columns() -> int:
    """Of the terminal that standard error is; 0 where it is none, or does not say."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


class _Lines:
    """Takes what a bar writes over itself, each state of it once and as a line."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.last = stream, ""

    def write(self, text: str) -> None:
        line = text.replace("\x1b[A", "").strip()
        if line and line != self.last:
            self.stream.write(f"{line}\n")
            self.last = line

    def flush(self) -> None:
        if self.stream is not None:
            self.stream.flush()
