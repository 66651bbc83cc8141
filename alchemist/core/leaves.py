"""Nested blocks as a list: every value by its dotted key."""

from collections.abc import Iterator
from typing import Any


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values below a key, in their order; a list and an empty block are values.

    Of an empty block without a key there is none.
    """
    if isinstance(value, dict) and (value or not where):
        for key, item in value.items():
            yield from leaves(item, f"{where}.{key}" if where else str(key))
    else:
        yield where, value
