"""How any block is read: the key, the value and what is legal, in one sentence."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, parse


class Inner(Settings):
    count: int = Field(ge=1)


class Outer(Settings):
    name: str
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(min_length=1)
    inner: Inner | None
    size: int | None = Field(default=4, ge=4, le=8, multiple_of=2)
    kind: Literal["a", "b"] = "a"
    file: str = Field(default="a", pattern=r"^[a-z]+$")


KEYS = "name, shares, inner, size, kind, file"
SHARE = "a finite number, larger than 0 and less than 1"
SHARES = f"a list with at least one item, each {SHARE}"
SIZE = "a whole number, at least 4 and at most 8 and a multiple of 2 or null"
GOOD = {"name": "a", "shares": [0.5, 0.25], "inner": {"count": 2}}


def test_lists_become_tuples_and_blocks_are_frozen() -> None:
    block = parse(Outer, GOOD, "outer")
    assert block.shares == (0.5, 0.25)
    with pytest.raises(ValueError, match="frozen"):
        block.name = "b"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (3, f"outer is 3; it should be a block with keys of {KEYS}, or {{}} for their defaults."),
        (None, f"outer is null; it should be a block with keys of {KEYS}, or {{}} for their defaults."),
        ({**GOOD, "nam": 1}, f"outer.nam is not a known key, nearest to name; legal keys are {KEYS}."),
        ({**GOOD, "xyz": 1}, f"outer.xyz is not a known key; legal keys are {KEYS}."),
        ({**GOOD, 7: 1}, f"outer.7 is not a known key; legal keys are {KEYS}."),
        (
            {**GOOD, "inner": {"count": 2, "cout": 1}},
            "outer.inner.cout is not a known key, nearest to count; legal keys are count.",
        ),
        ({**GOOD, "inner": {}}, "outer.inner.count is missing; outer.inner needs the keys count."),
        ({"name": "a"}, "outer.shares is missing; outer needs the keys name, shares, inner."),
        (
            {**GOOD, "inner": {"count": 0}},
            "outer.inner.count is 0; it should be a whole number, at least 1.",
        ),
        ({**GOOD, "name": 3}, "outer.name is 3; it should be text (write '3')."),
        ({**GOOD, "shares": 0.5}, f"outer.shares is 0.5; it should be {SHARES} (write [0.5])."),
        ({**GOOD, "shares": []}, f"outer.shares is []; it should be {SHARES}."),
        ({**GOOD, "shares": "0.5"}, f"outer.shares is '0.5'; it should be {SHARES} (write [0.5])."),
        ({**GOOD, "shares": [0.5, 1.0]}, f"outer.shares.1 is 1.0; it should be {SHARE}."),
        ({**GOOD, "shares": [float("nan")]}, f"outer.shares.0 is .nan; it should be {SHARE}."),
        ({**GOOD, "inner": 3}, "outer.inner is 3; it should be a block with the keys count or null."),
        ({**GOOD, "size": 5}, f"outer.size is 5; it should be {SIZE}."),
        ({**GOOD, "size": 9.5}, f"outer.size is 9.5; it should be {SIZE}."),
        ({**GOOD, "kind": "c"}, "outer.kind is 'c'; it should be a or b."),
        ({**GOOD, "file": "../a"}, "outer.file is '../a'; it should be text, of the pattern ^[a-z]+$."),
    ],
)
def test_the_first_mistake_is_told(value: object, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        parse(Outer, value, "outer")
    assert str(refused.value) == told
