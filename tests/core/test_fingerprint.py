"""Digests of ids."""

import hashlib

from alchemist.core.fingerprint import of_ids


def test_ids_have_one_digest_whatever_their_order_and_other_ids_another() -> None:
    assert of_ids(["b", "a\n", "\u00e4"]) == of_ids(["\u00e4", "b", "a\n"])
    apart = [["ab", "c"], ["a", "bc"], ["ab\nc"], ["ab"], ["ab", "c", "c"], []]
    assert len({of_ids(ids) for ids in apart}) == len(apart)


def test_anybody_can_take_it_anew() -> None:
    lines = b'"one"\n"t\\u00e4"\n'
    assert of_ids(["t\u00e4", "one"]) == hashlib.sha256(lines).hexdigest()
