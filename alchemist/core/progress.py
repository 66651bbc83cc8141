"""How far long work is: a bar on a terminal, and without one a line a minute."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from tqdm import tqdm

MINUTE = 60.0  # seconds between two lines of a log; work that ends sooner has none
LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}"


def bar(
    over: Iterable[Any] | None = None,
    *,
    desc: str,
    total: int | None = None,
    unit: str = "img",
    done: int = 0,
    shown: bool = True,
    leave: bool = True,
) -> "tqdm[Any]":
    """Progress `over` something, or of `total` units of which `done` were done before, on standard error.

    `unit` stands behind counts and rates. With `shown` false nothing is said, as of all processes of a
    launcher but the writer; with `leave` false a bar is gone when it ends.
    """
    # A bar that was never moved, as of work that was refused or is done already, is never drawn (delay).
    common: dict[str, Any] = {
        "iterable": over, "desc": desc, "total": total, "unit": unit, "initial": done, "leave": leave,
        "disable": not shown,
    }  # fmt: skip
    if sys.stderr.isatty():
        return tqdm(**common, mininterval=1, delay=1e-3, dynamic_ncols=True)
    lines: Any = _Lines(sys.stderr)
    return tqdm(**common, file=lines, mininterval=MINUTE, miniters=1, delay=MINUTE, bar_format=LINE)


def took(count: int, units: str, seconds: float) -> str:
    """How much was done in what time, and how fast, for the line that closes a stage."""
    minutes, rest = divmod(round(seconds), 60)
    time = f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
    rate = f", {count / seconds:,.0f} a second" if round(seconds, 1) else ""
    return f"{count:,} {units} in {time}{rate}"


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
        self.stream.flush()
