"""What a page says of a registration that changed."""

from alchemist.params.registered import changed


def test_what_was_added_or_went_is_told_from_what_is_null() -> None:
    before = {"claims": {"A": {"arm": "x", "ratio": None}, "B": {"arm": "y"}}, "pools": {"emoji": {}}}
    after = {"claims": {"A": {"arm": "x"}}, "pools": {"emoji": {"pairs": 8}}}
    assert changed(before, after) == [
        "claims.A.ratio: was null, is absent",
        "claims.B.arm: was 'y', is absent",
        "pools.emoji: was {}, is a block",
        "pools.emoji.pairs: was absent, is 8",
    ]
    assert changed(before, before) == []


def test_long_values_that_differ_at_their_end_differ() -> None:
    assert len(changed({"question": "a" * 99}, {"question": "a" * 98 + "b"})) == 1
