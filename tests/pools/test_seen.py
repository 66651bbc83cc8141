"""A table of digests is a dictionary that forgets nothing while it grows."""

import hashlib

import pytest

from alchemist.pools.seen import Seen


def digest(number: int) -> bytes:
    return hashlib.blake2b(number.to_bytes(8, "big"), digest_size=16).digest()


@pytest.mark.parametrize("near", [False, True])
def test_it_is_a_dictionary_of_first_codes(near: bool) -> None:
    """Also where all digests name one slot, the last, so that the probes go round its end."""
    count = 300 if near else 5000
    keys = [b"\xff" * 8 + digest(n)[8:] if near else digest(n) for n in range(count)]
    seen, known = Seen(), dict[bytes, int]()
    for n in range(2 * count):
        key, code = keys[n * 7919 % (n // 2 + 1)], n % 256
        assert (key in seen) == (key in known)
        assert seen.add(key, code) == known.get(key)
        known.setdefault(key, code)
        assert seen.taken == len(known)
    assert len(known) > count / 2
    assert {key: seen.add(key) for key in known} == known
    assert not any(digest(-n % 2**64) in seen for n in range(1, 1000))


def test_it_takes_a_third_of_pythons_memory_at_most() -> None:
    seen = Seen()
    for n in range(100_000):
        seen.add(digest(n))
    assert len(seen.digests) + len(seen.codes) <= 51 * seen.taken
