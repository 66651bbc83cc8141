"""Lines of text files, each in bounded memory: what has no end that is near is skipped without being held."""

import csv
from collections import deque
from collections.abc import Iterator
from typing import IO, AnyStr

from alchemist.pools.base import LINE

_LEAST = 1000  # characters that a row may always have


def lines(file: IO[AnyStr]) -> Iterator[AnyStr | None]:
    """Every line with its end; None in place of one of more than a million characters or bytes."""
    while line := file.readline(LINE):
        if len(line) < LINE or _ended(line):
            yield line
            continue
        while (more := file.readline(LINE)) and not (len(more) < LINE or _ended(more)):
            pass
        yield None


def _ended(line: str | bytes) -> bool:
    return line[-1:] in ("\n", "\r", b"\n")


def csv_rows(file: IO[str]) -> Iterator[list[str] | None]:
    """The rows of a CSV file without blank ones; None in place of a line that cannot be read.

    A field in quotes goes on over lines. Where it does so for more than a million characters, its first line
    is lost alone and the next is read as a row's beginning: a quote that nobody closed takes no more. Of a
    file with many such quotes less is read ahead, so that the time is of its length. At the end of the file
    a quote of the last line ends with it.
    """
    source = _Source(lines(file))
    # Its limit is of the process; ours is that of a line, and a longer caption gets a reason of its own.
    csv.field_size_limit(max(csv.field_size_limit(), 2 * LINE))
    reader = csv.reader(source)
    while True:
        source.begin()
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            source.back()
            yield None
            continue
        if row:
            yield row


class _Source:
    """Lines for a reader of rows, which may go back to the second line of a row."""

    def __init__(self, lines: Iterator[str | None]) -> None:
        self.lines = lines
        self.again: deque[str | None] = deque()
        self.row: list[str | None] = []
        self.size = 0
        self.read, self.reread = 0, 0  # characters of all rows, and of what was given back

    def __iter__(self) -> "_Source":
        return self

    def __next__(self) -> str:
        try:
            line = self.again.popleft() if self.again else next(self.lines)
        except StopIteration:
            if len(self.row) > 1:
                raise csv.Error("a field that does not end") from None
            raise
        self.row.append(line)
        self.size += len(line or "")
        if line is None or self.size > self.most:
            raise csv.Error("a line or a field without an end that is near")
        return line

    def begin(self) -> None:
        """A row begins with the next line."""
        self.read += self.size
        self.most = max(min(_LEAST, LINE), min(LINE, 4 * LINE + 8 * self.read - self.reread))
        self.row, self.size = [], 0

    def back(self) -> None:
        """Gives the lines of the row again, but for the first."""
        self.again.extendleft(reversed(self.row[1:]))
        ahead = sum(len(line or "") for line in self.row[1:])
        self.size, self.reread = self.size - ahead, self.reread + ahead
