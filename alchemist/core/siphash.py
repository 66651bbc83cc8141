"""Hashes of many ids at once: SipHash-2-4 of their UTF-8 bytes, many rows side by side in NumPy.

The same values as `pandas.util.hash_array` (its default key, its final mix), which makes a Python object
of every id and takes three times as long. Source: Aumasson and Bernstein 2012; the mix is SplitMix64's.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Words = NDArray[np.uint64]

_KEY = np.frombuffer(b"0123456789123456", dtype="<u8")
_STATE = np.frombuffer(b"uespemosmodnarodarenegylsetybdet", dtype="<u8") ^ np.tile(_KEY, 2)
_BLOCK = 16384  # rows at a time: the state of so many stays in a core's own cache


def hashes(ids: ArrayLike) -> Words:
    """One 64-bit hash an id, (N,): a function of its UTF-8 bytes alone.

    `ids` is a list, array or column of str without nulls; an Arrow column is read where it lies.
    """
    out = []
    for chunk in _chunks(ids):
        _, offsets, text = chunk.buffers()
        begins = np.frombuffer(offsets, dtype=np.int64)[chunk.offset : chunk.offset + len(chunk) + 1]
        data = np.frombuffer(text, dtype=np.uint8) if text is not None else np.empty(0, dtype=np.uint8)
        out += [_block(begins[i : i + _BLOCK + 1], data) for i in range(0, len(chunk), _BLOCK)]
    return np.concatenate(out) if out else np.empty(0, dtype=np.uint64)


def _chunks(ids: ArrayLike) -> list[Any]:
    """The ids as Arrow arrays of UTF-8 bytes with 64-bit offsets."""
    import pyarrow as pa

    column = getattr(ids, "array", ids)  # of a pandas Series or Index
    if hasattr(column, "__arrow_array__"):
        strings = pa.array(column)
    else:
        strings = pa.array(np.asarray(column, dtype=object), type=pa.large_string())
    chunks = strings.chunks if isinstance(strings, pa.ChunkedArray) else [strings]
    return [chunk.cast(pa.large_string()) for chunk in chunks if len(chunk)]


def _block(begins: NDArray[np.int64], data: NDArray[np.uint8]) -> Words:
    """Hashes of the ids between neighbours of `begins` in `data`."""
    # Every 8 bytes from any byte on are a word; behind the last id there are enough of them.
    near = np.concatenate([data[begins[0] : begins[-1]], np.zeros(8, dtype=np.uint8)])
    word_at = np.ndarray((len(near) - 7,), "<u8", near.data, 0, (1,))
    first, lengths = begins[:-1] - begins[0], np.diff(begins)
    if (lengths == lengths[0]).all():
        return _sip(word_at, first, int(lengths[0]))
    out = np.empty(len(first), dtype=np.uint64)
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        out[rows] = _sip(word_at, first[rows], int(length))
    return out


def _sip(word_at: Words, first: NDArray[np.int64], length: int) -> Words:
    """Hashes of ids of one length, which begin at the bytes `first`."""
    state = [np.full(len(first), start) for start in _STATE]
    spare = np.empty(len(first), dtype=np.uint64)
    whole, rest = divmod(length, 8)
    for number in range(whole + 1):
        word = word_at[first + 8 * number]
        if number == whole:  # the last bytes, and the length
            word &= np.uint64((1 << 8 * rest) - 1)
            word |= np.uint64((length & 0xFF) << 56)
        state[3] ^= word
        _rounds(2, state, spare)
        state[0] ^= word
    state[2] ^= np.uint64(0xFF)
    _rounds(4, state, spare)
    mixed = state[0] ^ state[1] ^ state[2] ^ state[3]
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _rounds(count: int, state: list[Words], spare: Words) -> None:
    """SipRounds on the four words of the state, in place."""
    a, b, c, d = state
    for _ in range(count):
        a += b
        _turn(b, 13, spare)
        b ^= a
        _turn(a, 32, spare)
        c += d
        _turn(d, 16, spare)
        d ^= c
        a += d
        _turn(d, 21, spare)
        d ^= a
        c += b
        _turn(b, 17, spare)
        b ^= c
        _turn(c, 32, spare)


def _turn(words: Words, bits: int, spare: Words) -> None:
    """Rotates words to the left, in place."""
    np.left_shift(words, np.uint64(bits), out=spare)
    words >>= np.uint64(64 - bits)
    words |= spare
