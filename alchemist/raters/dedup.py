"""SemDeDup (Abbas et al. 2023) as a rating: how far a pair is from the nearest earlier one of its cluster.

SemDeDup drops a pair whose largest cosine with an earlier pair of its k-means cluster (here: with any
earlier one, kept or not) is above 1 - eps. The rating is 1 less that cosine, so those with a rating of at
least eps are what SemDeDup keeps, and the best K of the ratings are what it keeps at the eps that leaves K.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.cluster import MiniBatchKMeans  # type: ignore[import-untyped]

from alchemist.core import stateless
from alchemist.core.refusal import Refusal
from alchemist.measures import features, vectors
from alchemist.raters.embedding import Embedding, Measure
from alchemist.raters.ranks import ranks

BLOCK = 1024  # rows of embeddings in memory at once, and of a block of cosines
PASSES = 10  # of k-means over all pairs
DIGITS = 6  # of a cosine in float32


def features_by(run: Embedding, clusters: int | None) -> Measure:
    """What gives the features (n, d) of images. Raises Refusal for more clusters than pairs."""
    if clusters is not None and clusters > run.pairs:
        raise Refusal(
            f"raters.{run.name}.clusters is {clusters}; the pool has {run.pairs} usable pairs, "
            "so at most that, or null for the root of it, is legal."
        )
    asked = run.evaluate
    by = features.extractor(asked.features, asked.feature_size, run.device, asked.weights)
    return lambda images, captions: features.extract(images, by=by, batch=asked.batch)


def novelty(
    embeddings: Path, rows: pd.DataFrame, clusters: int | None, keep: Literal["hard", "random"], seed: int
) -> NDArray[np.float64]:
    """Ratings (N,) in [0, 1]: 1 less the largest cosine with an earlier pair of the same cluster.

    `embeddings`: an .npy file (N, d), row by row those of `rows`, with id and lent. `clusters`: at most N;
    None takes the root of N. Earlier is, with `keep` hard, what is farther from the centroid, as published;
    with random, what comes first in an order by seed and id. What is lent to another split, so that no cell
    trains on it, comes after all others. The first of a cluster has 1, and so has what has no positive
    cosine. A function of the set of pairs: their order in the file changes nothing.
    Time grows with N^2 / clusters; memory with N by the ratings and orders alone.
    """
    draws = stateless.id_uniforms(rows["id"], "semdedup", seed)
    labels, near = _clustered(embeddings, np.argsort(draws), clusters, seed)
    first = near if keep == "hard" else np.zeros(len(rows))
    # By cluster, then farthest first; copies are equally far, and the draw decides between them.
    order = np.lexsort((draws, first, rows["lent"].to_numpy(), labels))
    ends = np.flatnonzero(np.diff(labels[order])) + 1
    out = np.empty(len(rows))
    for members in np.split(order, ends):
        out[members] = _novelty(embeddings, members)
    return out


def balance(embeddings: Path, rows: pd.DataFrame, clusters: int | None, seed: int) -> NDArray[np.float64]:
    """Ratings (N,): minus the place of a pair in its k-means cluster (`ranks.ranks`).

    Arguments as of `novelty`. The best K then are a balanced quota: of no cluster more than one above that of
    any other that has pairs left. A function of the set of pairs.
    """
    draws = stateless.id_uniforms(rows["id"], "cluster balance", seed)
    labels, _ = _clustered(embeddings, np.argsort(draws), clusters, seed)
    return ranks(labels.astype(np.uint64), rows, seed)


def _clustered(
    embeddings: Path, order: NDArray[np.int64], clusters: int | None, seed: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The cluster of every row, and its cosine with the cluster's centroid."""
    clusters = clusters if clusters is not None else max(1, round(len(order) ** 0.5))
    means = MiniBatchKMeans(clusters, random_state=stateless.key("k-means", seed) % 2**32, n_init=1)
    size = max(BLOCK, 3 * clusters)  # the first block has to seed all centroids
    for _ in range(PASSES):
        for start in range(0, len(order), size):
            means.partial_fit(vectors.read(embeddings, order[start : start + size]))
    centroids = vectors.unit(means.cluster_centers_)
    labels, near = np.empty(len(order), dtype=np.int32), np.empty(len(order))
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        read = vectors.read(embeddings, rows)
        labels[rows] = means.predict(read)
        near[rows] = np.round(np.einsum("nd,nd->n", read, centroids[labels[rows]]), DIGITS)
    return labels, near


def _novelty(embeddings: Path, members: NDArray[np.int64]) -> NDArray[np.float64]:
    """1 less the largest cosine of each member with those before it."""
    out = np.empty(len(members))
    for start in range(0, len(members), BLOCK):
        here = vectors.read(embeddings, members[start : start + BLOCK])
        largest = np.tril(here @ here.T, -1).max(axis=1)  # the zeros stand for no copy
        for before in range(0, start, BLOCK):
            earlier = vectors.read(embeddings, members[before : before + BLOCK])
            largest = np.maximum(largest, (here @ earlier.T).max(axis=1))
        out[start : start + BLOCK] = 1 - np.clip(largest, 0, 1)
    return np.round(out, DIGITS)
