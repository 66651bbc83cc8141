"""Which digests came before, in a third of the memory that Python's own sets take for them."""

WIDTH = 16  # bytes of a digest
_EMPTY = bytes(WIDTH)  # a slot without a digest; that a digest is all zeros has a chance of 2 ** -128


class Seen:
    """A table of 16-byte digests, each with a small number: 25 to 51 bytes a digest.

    Open addressing with linear probes: a digest lies in the first free slot from the one that its own bits
    name. At most two thirds of the slots are taken.
    """

    def __init__(self) -> None:
        self.taken = 0
        self._make(1024)

    def _make(self, slots: int) -> None:
        self.slots, self.digests, self.codes = slots, bytearray(slots * WIDTH), bytearray(slots)

    def __contains__(self, digest: bytes) -> bool:
        return self._at(self._place(digest)) == digest

    def add(self, digest: bytes, code: int = 0) -> int | None:
        """The number (0 to 255) that an equal digest came with, or None for a new one, which takes `code`."""
        assert len(digest) == WIDTH
        place = self._place(digest)
        if self._at(place) == digest:
            return self.codes[place]
        if 3 * (self.taken + 1) > 2 * self.slots:
            self._grow()
            place = self._place(digest)
        self._put(place, digest, code)
        self.taken += 1
        return None

    def _place(self, digest: bytes) -> int:
        """The slot that holds a digest, or the one that it would take."""
        place = int.from_bytes(digest[:8], "little") % self.slots
        while self._at(place) not in (digest, _EMPTY):
            place = (place + 1) % self.slots
        return place

    def _at(self, place: int) -> bytearray:
        return self.digests[place * WIDTH : (place + 1) * WIDTH]

    def _put(self, place: int, digest: bytes, code: int) -> None:
        self.digests[place * WIDTH : (place + 1) * WIDTH] = digest
        self.codes[place] = code

    def _grow(self) -> None:
        digests, codes = self.digests, self.codes
        self._make(2 * self.slots)
        for place, code in enumerate(codes):
            digest = bytes(digests[place * WIDTH : (place + 1) * WIDTH])
            if digest != _EMPTY:
                self._put(self._place(digest), digest, code)
