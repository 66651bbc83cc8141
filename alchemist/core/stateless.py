"""Randomness as a function of (seed, position), never of workers, batches or process count.

A position is where a value stands in the work (the image number in a run, the prompt's
number, the pair's id). Equal seed and position give equal values, whatever else was drawn.
"""

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from alchemist.core.siphash import hashes

_MASK = (1 << 64) - 1


def key(*parts: object) -> int:
    """A 63-bit integer that depends on every part and on their order (sha256 of their texts)."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A NumPy generator that is a function of its parts alone (Philox, keyed by `key`)."""
    return np.random.Generator(np.random.Philox(key=key(*parts)))


def uniforms(seed: int, *positions: NDArray[np.integer] | int) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), one for every element of the broadcast positions.

    SplitMix64 finaliser over the positions, one round a coordinate (Steele et al. 2014).
    """
    state = np.asarray(seed & _MASK, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for position in positions:
            state = state + np.asarray(position).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
            state = state + np.uint64(0x9E3779B97F4A7C15)
            state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            state = state ^ (state >> np.uint64(31))
    return ((state >> np.uint64(12)).astype(np.float64) + 0.5) / float(1 << 52)


def id_uniforms(ids: ArrayLike, *parts: object) -> NDArray[np.float64]:
    """Uniform numbers in (0, 1), one an id, independent of the order and of the other ids.

    `ids` is a list, array or column of str. SipHash of the UTF-8 bytes, then `uniforms` keyed by the
    parts: 30 million ids of an Arrow column take two seconds.
    """
    return uniforms(key(*parts), hashes(ids))


def id_positions(ids: ArrayLike) -> NDArray[np.int64]:
    """A position from 0 for every id, (N,): SipHash of its UTF-8 bytes, whatever the order of the ids."""
    return (hashes(ids) >> np.uint64(1)).astype(np.int64)


def id_order(ids: ArrayLike) -> NDArray[np.int64]:
    """The order in which pairs count, (N,): positions by a hash of the ids, whatever that of the files.

    Whoever takes the first, the last or some of a person's pairs takes them in it. Ids whose hashes are
    equal, hardly two of 30 million, stand in the order of their texts.
    """
    places = id_uniforms(ids, "order")
    order = np.argsort(places, kind="stable")
    if (places[order][1:] == places[order][:-1]).any():
        order = np.lexsort((np.asarray(ids, dtype=str), places))
    return order


def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order of `count` rows in one epoch: a permutation that depends on (seed, epoch)."""
    return generator("order", seed, epoch).permutation(count)
