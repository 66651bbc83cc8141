"""Near copies among the pairs of a pool: a vector of every picture, and clusters about leaders.

The pairs come in the order of a hash of their ids. Each joins the nearest leader before it of which it is a
near copy, or else leads a cluster of its own. So a member is a near copy of its leader, whatever its cluster:
there are no chains from one to the next as of single linkage, which join a pool of gradual changes to one.
The candidates among the leaders come from an index of cells (faiss), which looks into the nearest ones alone.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import faiss
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from alchemist.core import stateless
from alchemist.core.settings.copies import CopiesSettings
from alchemist.measures import features, vectors
from alchemist.measures.vectors import Floats, Pictures

WIDTH = 128  # values of a vector on disk
DETAIL = 16  # px of a side to which a picture is shrunk before the network sees it
THUMB = 8  # px of a side of the thumbnail
THUMB_SHARE = 2 / 3  # of the squared length
FLAT = 2.0  # levels of 255: a thumbnail that deviates less from its mean is of one colour
BATCH = 50  # pictures
BLOCK = 1024  # pairs that are compared among themselves
CANDIDATES = 8  # nearest leaders asked of the index
CELLS = 2  # times the root of the number of pairs
EXACT = 4096  # pairs up to which the index has one cell
PROBES = 32  # cells that are searched
GRID = 2048.0  # a value of a vector is a multiple of 1 / GRID
DIGITS = 6  # of a cosine

Ints = NDArray[np.int64]
Words = NDArray[np.uint64]
Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]


def embed(
    folder: Path,
    rows: pd.DataFrame,
    settings: CopiesSettings,
    device: torch.device,
    out: Path,
    tick: Callable[[int], object],
) -> None:
    """Writes a vector of the picture of every row (with `store.PLACE`): `out`, float16 (N, 128), length one.

    Two things side by side: EfficientNet-Lite0's features of the picture at `DETAIL` px, and a thumbnail less
    its mean; of a picture of one colour, that colour and its negative. At full detail the features of a
    picture and its JPEG differ more than those of two pictures; the thumbnail keeps what compression,
    resizing, light and noise leave, and the features bear a crop. An orthogonal projection to 128 values
    keeps a cosine c within some (1 - c^2) / 11, and a million pairs in 256 MB. It is random, keyed by the
    seed: directions fitted to a pool would make a threshold mean another thing in each. Streamed, as
    `vectors.write`.
    """
    by = features.extractor("lite0", settings.feature_size, device)
    turn = _projection(features.FEATURES + 3 * THUMB**2, settings.seed)

    def describe(images: Pictures) -> Floats:
        shrunk = np.stack([_shrunk(image, DETAIL) for image in images])
        seen = vectors.unit(features.extract(shrunk, by, BATCH))
        thumbs = np.stack([_shrunk(image, THUMB) for image in images]).astype(np.float32)
        flat = thumbs.std(axis=(1, 2)).max(axis=1) < FLAT
        thumbs = thumbs.reshape(len(images), -1)
        centred = thumbs - thumbs.mean(axis=1, keepdims=True)
        # Less its mean it would be nothing. Beside its negative, light and dark point apart too.
        thumbs[:, ::2] = 255 - thumbs[:, ::2]
        centred[flat] = thumbs[flat]
        plain = vectors.unit(centred)
        parts = (1 - THUMB_SHARE) ** 0.5 * seen, THUMB_SHARE**0.5 * plain
        return np.concatenate(parts, axis=1) @ turn

    vectors.write(folder, rows, describe, BATCH, out, tick)


def _shrunk(image: Pictures, side: int) -> Pictures:
    """Means over areas."""
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def _projection(width: int, seed: int) -> Floats:
    """Orthonormal columns (width, WIDTH) in random directions."""
    drawn = stateless.generator("copies", "projection", seed).normal(size=(width, WIDTH))
    return np.linalg.qr(drawn)[0].astype(np.float32)


def clusters(
    file: Path,
    captions: Words,
    pixels: Words,
    order: Ints,
    settings: CopiesSettings,
    tick: Callable[[int], object],
) -> Ints:
    """The row of every row's leader (N,): of itself for a leader and for one without copies.

    `file`: .npy (N, d), as `embed` writes it. `captions`: `pools.captions.hashes`. `pixels`: hashes of the
    decoded pictures, 0 where there is none. `order`: the rows from first to last, by a hash of their ids.
    Rows of equal pixels are one, the first of them; its caption is the one that counts. A row is a near copy
    of a leader of its caption from `threshold` on, and of any from `threshold_other` on.

    A function of the set of rows, and the same on any number of threads: vectors are rounded to a grid on
    which sums of products are exact in float32, so that no order of summation shows. What the index does not
    find is a copy that is kept. Memory: some 500 bytes a row of 128 values.
    """
    first = _first_of_equal(pixels, order)
    rows = order[first[order] == order]
    tick(len(order) - len(rows))
    leader = first.copy()
    leaders = _Leaders(file, rows, captions)
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        own = leaders.vectors(block)
        found, near = leaders.nearest(own, captions[block], settings)
        leader[block] = np.where(found < 0, block, found)
        _within(leader, near, block, own, captions[block], settings)
        leaders.add(own, leader[block] == block)
        tick(len(block))
    return leader[first]


def _first_of_equal(pixels: Words, order: Ints) -> Ints:
    """For every row the first in `order` with its pixels; itself where it has none."""
    first = np.arange(len(order))
    known = order[pixels[order] != 0]
    _, begin, back = np.unique(pixels[known], return_index=True, return_inverse=True)
    first[known] = known[begin[back]]
    return first


def _within(
    leader: Ints, near: Doubles, block: Ints, own: Floats, captions: Words, settings: CopiesSettings
) -> None:
    """Lets the rows of a block join leaders of the same block, where those are nearer than the one found."""
    cosine = _cosines(own, own)
    alike = np.tril(_alike(cosine, captions[:, None] == captions, settings), -1)
    leads = leader[block] == block
    for row in np.flatnonzero(alike.any(axis=1)):
        before = np.flatnonzero(alike[row, :row] & leads[:row])
        if len(before) and cosine[row, before].max() > near[row]:
            leader[block[row]] = block[before[cosine[row, before].argmax()]]  # of equally near ones the first
            leads[row] = False


def _alike(cosine: Doubles, same: Mask, settings: CopiesSettings) -> Mask:
    """The rule: which cosines make near copies; `same`: whether the two share a caption."""
    found: Mask = same & (cosine >= settings.threshold)
    if settings.threshold_other is not None:
        found |= cosine >= settings.threshold_other
    return found


def _cosines(left: Floats, right: Floats) -> Doubles:
    """Cosines (n, m) of vectors on the grid."""
    return _rounded(left @ right.T, _lengths(left)[:, None], _lengths(right))


def _rounded(products: NDArray[np.floating], left: Doubles, right: Doubles) -> Doubles:
    """Cosines of exact products: the grid has changed the lengths a little."""
    return np.round(products.astype(np.float64) / left / right, DIGITS)


def _lengths(own: Floats) -> Doubles:
    """Of vectors on the grid; 1 for zeros, so that they are like nothing."""
    lengths = np.sqrt(np.square(own, dtype=np.float64).sum(axis=1))
    return np.where(lengths > 0, lengths, 1.0)


class _Leaders:
    """The leaders so far, in an index of cells: each lies in the cell of the nearest of some fixed points.

    The points are the first rows themselves: nothing is fitted. A place is where a row stands in `rows`.
    """

    def __init__(self, file: Path, rows: Ints, captions: Words) -> None:
        self.file, self.rows, self.captions = file, rows, captions
        self.places = np.empty(len(rows), dtype=np.int64)  # of leaders, `count` of them
        self.lengths = np.ones(len(rows))  # by place
        self.count = self.seen = 0
        cells = 1 if len(rows) <= EXACT else round(CELLS * len(rows) ** 0.5)
        points = self.vectors(rows[:cells])
        width = points.shape[1]
        self.middles = faiss.IndexFlatIP(width)
        self.middles.add(points)
        # Without residuals, whose products would not be exact; float16 holds every value of the grid.
        self.index = faiss.IndexIVFScalarQuantizer(
            self.middles, width, cells, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT, False
        )
        self.index.train(points)  # moves nothing: the points are there, and float16 has nothing to learn
        self.index.nprobe = PROBES

    def vectors(self, rows: Ints) -> Floats:
        """Their vectors on the grid."""
        return np.rint(vectors.read(self.file, rows) * np.float32(GRID)) / np.float32(GRID)

    def add(self, own: Floats, leads: Mask) -> None:
        """Takes the next rows, of which `leads` says which lead."""
        places = self.seen + np.flatnonzero(leads)
        self.seen += len(own)
        self.places[self.count : self.count + len(places)] = places
        self.count += len(places)
        self.lengths[places] = _lengths(own[leads])
        self.index.add_with_ids(own[leads], places)

    def nearest(self, own: Floats, captions: Words, settings: CopiesSettings) -> tuple[Ints, Doubles]:
        """The row (n,) of the nearest leader of which each is a near copy, -1 for none, and its cosine."""
        best, near = np.full(len(own), -1), np.full(len(own), -1.0)
        if not self.count:
            return best, near
        products, places = self.index.search(own, CANDIDATES)
        cosine = _rounded(products, _lengths(own)[:, None], self.lengths[places])
        same = self.captions[self.rows[places]] == captions[:, None]
        alike = _alike(cosine, same, settings) & (places >= 0)
        _take(best, near, np.arange(len(own)), np.where(alike, cosine, -1.0), places)
        # Where all candidates are near, but of other captions, one of this caption may lie behind them.
        rest = np.flatnonzero((best < 0) & (places[:, -1] >= 0) & (cosine[:, -1] >= settings.threshold))
        leading = self.places[: self.count]
        mates = (
            leading[np.isin(self.captions[self.rows[leading]], captions[rest])] if len(rest) else leading[:0]
        )
        for start in range(0, len(mates), BLOCK):
            some = mates[start : start + BLOCK]
            cosine = _cosines(own[rest], self.vectors(self.rows[some]))
            same = self.captions[self.rows[some]] == captions[rest, None]
            _take(best, near, rest, np.where(_alike(cosine, same, settings), cosine, -1.0), some)
        return np.where(best < 0, -1, self.rows[best]), near


def _take(best: Ints, near: Doubles, asked: Ints, cosine: Doubles, places: Ints) -> None:
    """Takes the nearest of some places (n, m) or (m,) where it is nearer; of equally near ones the first."""
    here = cosine.max(axis=1)
    tied = np.where(cosine == here[:, None], places, np.iinfo(np.int64).max).min(axis=1)
    closer = here > near[asked]
    best[asked[closer]], near[asked[closer]] = tied[closer], here[closer]
