"""What all threads that read a pool hold at once: one allowance of bytes, shared by weight."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

SMALL = 8_000_000  # bytes of an encoded image that each thread may hold beside the allowance
AHEAD = 32_000_000  # bytes of pairs that wait to be worked on, or to be taken

T = TypeVar("T")

_changed = threading.Condition()
_used = 0
_own = threading.local()


@contextlib.contextmanager
def held(amount: int, most: int) -> Iterator[None]:
    """Waits until `amount` bytes more fit into `most`, and counts them as used within the block.

    What alone is more than `most` waits for all others to end. A thread that holds some takes no more: two
    that each waited for the other would wait for ever.
    """
    global _used  # noqa: PLW0603  of the process, as memory is
    if not amount or getattr(_own, "holds", False):
        yield
        return
    with _changed:
        _changed.wait_for(lambda: _used == 0 or _used + amount <= most)
        _used += amount
    _own.holds = True
    try:
        yield
    finally:
        _own.holds = False
        with _changed:
            _used -= amount
            _changed.notify_all()


def parts(items: Iterable[T], count: int, weight: Callable[[T], int], most: int = AHEAD) -> Iterator[list[T]]:
    """Lists of `count` items, shorter where they weigh more than `most` bytes together."""
    part: list[T] = []
    weighs = 0
    for item in items:
        part.append(item)
        weighs += weight(item)
        del item  # as all that is given: nothing of it is held here while the next is found
        if len(part) == count or weighs >= most:
            ready, part, weighs = [part], [], 0
            yield ready.pop()
    if part:
        yield part
