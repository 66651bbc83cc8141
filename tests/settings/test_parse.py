"""How any block is read: the key, the value and what is legal, in one sentence."""

import pytest
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.settings import Settings, parse


class Inner(Settings):
    count: int = Field(ge=1)


class Outer(Settings):
    name: str
    shares: tuple[float, ...]
    inner: Inner | None


GOOD = {"name": "a", "shares": [0.5, 0.25], "inner": {"count": 2}}


def test_lists_become_tuples_and_blocks_are_frozen() -> None:
    block = parse(Outer, GOOD, "outer")
    assert block.shares == (0.5, 0.25)
    with pytest.raises(ValueError, match="frozen"):
        block.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, "outer is 3; it should be a block with the keys name, shares, inner."),
        ({**GOOD, "nam": 1}, "outer.nam is not a known key; legal keys are name, shares, inner."),
        (
            {**GOOD, "inner": {"count": 2, "cout": 1}},
            "outer.inner.cout is not a known key; legal keys are count.",
        ),
        ({**GOOD, "inner": {}}, "outer.inner.count is missing; outer.inner needs the keys count."),
        ({"name": "a"}, "outer.shares is missing; outer needs the keys name, shares, inner."),
        (
            {**GOOD, "inner": {"count": 0}},
            "outer.inner.count is 0; input should be greater than or equal to 1.",
        ),
        ({**GOOD, "name": 3}, "outer.name is 3; input should be a valid string."),
    ],
)
def test_the_first_mistake_is_told(value: object, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(Outer, value, "outer")
    assert str(refused.value) == told
