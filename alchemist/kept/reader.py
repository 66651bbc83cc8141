"""The encoded bytes of kept pairs, read where they lie and held against their checksums."""

import functools
import os
from pathlib import Path

from alchemist.core.one_line import one_line
from alchemist.core.refusal import Refusal
from alchemist.kept.offsets import Kept
from alchemist.pools.place import Cell, Unreadable, fetch
from alchemist.pools.row import crc

OPEN = 64  # files that are open at once


class Reader:
    """Reads pairs of files that stay open while they are in use. Several threads may share one."""

    def __init__(self) -> None:
        self._open = functools.lru_cache(maxsize=OPEN)(_File)

    def read(self, pair: Kept) -> bytes:
        """The bytes of the image of a pair. Fastest in the order of the index: cells are read forward.

        Raises Refusal, in one sentence, where the file is gone or holds something else than it did.
        """
        try:
            content = self._content(pair)
        except Unreadable as error:
            raise _changed(pair, str(error)) from None
        if content is None or crc(content) != pair.crc:
            raise _changed(pair, f"{pair.place.file} holds another image")
        return content

    def _content(self, pair: Kept) -> bytes | None:
        if isinstance(pair.place, Cell):
            return fetch(pair.place)
        try:
            return self._open(pair.place.file).read(pair.place.offset, pair.size)
        except FileNotFoundError:
            raise Unreadable(f"{pair.place.file} is missing") from None
        except OSError as error:
            raise Unreadable(f"{pair.place.file} cannot be read ({error.strerror})") from None


class _File:
    """An open file, closed when the last who reads it lets go."""

    def __init__(self, path: Path) -> None:
        self.path, self.handle = path, os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            os.close(self.handle)

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from an offset on. Raises Unreadable where the file ends before, and OSError."""
        content = os.pread(self.handle, size, offset)
        while len(content) < size:  # of more than 2 GB a system reads a part
            more = os.pread(self.handle, size - len(content), offset + len(content))
            if not more:
                raise Unreadable(f"{self.path} ends before byte {offset + size}")
            content += more
        return content


def _changed(pair: Kept, what: str) -> Refusal:
    return Refusal(
        f"{what}, where the image of {one_line(pair.id)} was when the selection was exported: put the file "
        "back, or prepare the pool and export the selection anew."
    )
