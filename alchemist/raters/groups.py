"""Groups of a pool's pairs: which pair is of which, and those of a step.

A pair's group is a property of the pair, and no seed, batch or order of rows changes it. Whether a group is a
good one is learned, never told.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alchemist.core import stateless, world
from alchemist.core.refusal import Refusal
from alchemist.core.settings.groups import GroupsSettings, StrataSettings
from alchemist.models.batch import Text
from alchemist.models.encoded import ORIGIN, Encoded, PoolRows
from alchemist.models.training import Orders, numbers_at

if TYPE_CHECKING:
    from alchemist.raters.proxy import Plain

LEAST = 2  # pairs of a group, which has a variance
SEEN = 256  # pairs for each centroid, by which k-means finds them
PASSES = 50  # of k-means, at most
PART = 1024  # captions whose states are in memory at once
BLOCK = 4096  # steps whose groups are drawn at once

Labels = NDArray[np.int64]


# ------------------------------------------------------------------------------ of a pair


def by_length(lengths: NDArray[np.integer], edges: NDArray[np.floating]) -> Labels:
    """Bins (N,) of lengths, from 0: how many of the ascending edges a length reaches."""
    return np.searchsorted(edges, lengths, side="right")


def by_centroid(vectors: NDArray[np.floating], centroids: NDArray[np.floating]) -> Labels:
    """The nearest centroid (N,) of each vector (N, D), by the Euclidean distance."""
    wide = centroids.astype(np.float64)
    apart = np.square(wide).sum(1) - 2 * vectors.astype(np.float64) @ wide.T
    return apart.argmin(1)


def of_captions(text: Text, by: str, rule: NDArray[np.floating]) -> Labels:
    """Groups (B,) of captions by the rule of a pool: bins of their lengths, or centroids of their states."""
    if by == "caption_length":
        return by_length(text.mask.sum(1).cpu().numpy(), rule)
    return by_centroid(text.pooled.cpu().numpy(), rule)


# ------------------------------------------------------------------------------ of a pool


@dataclass
class Groups:
    """Of all rated pairs of a pool; numbered from 0, and each with two pairs of the split pool or more."""

    by: str
    a_step: int
    labels: Labels  # of every encoded pair, by its row number; -1 where it is not rated
    rows: list[PoolRows]  # of each group, its pairs of the split pool
    names: list[str]  # for a person
    rule: NDArray[np.floating]  # edges of lengths, centroids (G, D), or nothing: what another pool is told
    _drawn: list[tuple[Labels, Labels]] = field(default_factory=list)  # of a seed, by blocks of steps
    _seed: int = -1
    _orders: Orders = field(default_factory=Orders)

    def sizes(self) -> Labels:
        """Pairs of the split pool in each group (G,)."""
        return np.array([len(one) for one in self.rows])

    def at(self, seed: int, step: int) -> tuple[Labels, Labels]:
        """The groups of a step (a_step,), all different, and how often each was drawn in the steps before.

        Drawn by their sizes: a race of exponential clocks, each a function of (seed, step, group).
        """
        if seed != self._seed:
            self._drawn, self._seed = [], seed
        sizes = self.sizes()
        while len(self._drawn) <= step // BLOCK:
            steps = np.arange(len(self._drawn) * BLOCK, (len(self._drawn) + 1) * BLOCK)
            draws = stateless.uniforms(stateless.key("groups", seed), steps[:, None], np.arange(len(sizes)))
            chosen = np.argsort(-np.log(draws) / sizes, axis=1, kind="stable")[:, : self.a_step]
            before = self._totals()
            order = np.argsort(chosen.ravel(), kind="stable")
            counts = np.bincount(chosen.ravel(), minlength=len(sizes))
            turns = np.empty(chosen.size, dtype=np.int64)
            turns[order] = np.arange(chosen.size) - np.repeat(np.cumsum(counts) - counts, counts)
            self._drawn.append((chosen, turns.reshape(chosen.shape) + before[chosen]))
        chosen, turns = self._drawn[step // BLOCK]
        return chosen[step % BLOCK], turns[step % BLOCK]

    def _totals(self) -> Labels:
        """How often each group was drawn in the blocks that are there."""
        totals = np.zeros(len(self.rows), dtype=np.int64)
        for chosen, _ in self._drawn:
            totals += np.bincount(chosen.ravel(), minlength=len(totals))
        return totals

    def numbers_at(self, seed: int, step: int, batch: int) -> NDArray[np.int64]:
        """Row numbers (batch,) of a step: its groups behind one another, each with an equal part.

        A group gives each of its pairs once before any again.
        """
        each = batch // self.a_step
        self._orders.most = 2 * len(self.rows)
        return np.concatenate(
            [
                numbers_at(
                    self.rows[group], stateless.key("pool", seed, int(group)), int(turn) * each, each,
                    self._orders,
                )
                for group, turn in zip(*self.at(seed, step), strict=True)
            ]
        )  # fmt: skip

    def members(self, seed: int, count: int) -> list[NDArray[np.int64]]:
        """Row numbers of at most `count` pairs of each group, by which it is known where pairs are rated."""
        found = []
        for group, rows in enumerate(self.rows):
            draw = stateless.generator("reference", seed, group)
            places = draw.choice(len(rows), min(count, len(rows)), replace=False)
            found.append(rows.numbers[np.sort(places)])
        return found


def of_pool(run: "Plain", settings: GroupsSettings, where: str) -> Groups:
    """The groups of a run's rated pairs, by the block at key `where`.

    Raises Refusal where the pool has fewer than a step takes, or its pairs tell no source, or where the batch
    has no equal parts of two pairs for a step's.
    """
    data, batch = run.data, run.budget.batch
    if batch % settings.a_step or batch // settings.a_step < LEAST:
        raise Refusal(
            f"{where}.a_step is {settings.a_step}, and rate.batch {batch} has no so many equal parts of "
            f"{LEAST} pairs or more; a divisor of {batch} up to {batch // LEAST} is legal."
        )
    labels = np.full(len(data.rows), -1, dtype=np.int64)
    labels[run.rated.numbers], names, rule = of_rated(run, settings, where)
    of = labels[run.pool.numbers]
    ends = np.cumsum(np.bincount(of, minlength=len(names)))[:-1]
    rows = [PoolRows(one) for one in np.split(run.pool.numbers[np.argsort(of, kind="stable")], ends)]
    if len(rows) < settings.a_step:
        raise Refusal(
            f"{where}.a_step is {settings.a_step}, and by {settings.by} the pool has {len(rows)} groups of "
            f"{LEAST} pairs or more; "
            + (f"2 to {len(rows)} is legal." if len(rows) > 1 else "another by, or group none, is legal.")
        )
    digest = hashlib.sha256(labels.tobytes()).hexdigest()
    world.agree(digest, f"{where}: the processes find other groups; one machine for all is legal.")
    return Groups(settings.by, settings.a_step, labels, rows, names, rule)


_Given = tuple[Labels, list[str], NDArray[np.floating]]


def of_rated(run: "Plain", settings: StrataSettings, where: str) -> _Given:
    """The group of each rated pair (N,), from 0, the groups' names, and the rule that another pool is told.

    Raises Refusal where the pairs tell no source.
    """
    pool, rated = run.pool.numbers, run.rated.numbers
    return _FOUND[settings.by](run.data, pool, rated, settings.count, where)


def _of_lengths(data: Encoded, pool: Labels, rated: Labels, count: int, where: str) -> _Given:
    """Bins with about as many pairs each; equal lengths are in one."""
    lengths = data.lengths(data.rows["text"].to_numpy())
    inner = np.quantile(lengths[pool], np.arange(1, count) / count, method="inverted_cdf")
    edges = np.unique(inner[inner > lengths[pool].min()])
    while len(edges) and (small := _small(by_length(lengths[pool], edges), len(edges) + 1)) is not None:
        edges = np.delete(edges, max(small - 1, 0))
    ends = [0, *edges.tolist()]
    names = [f"from {int(end)} word pieces" for end in ends]
    return by_length(lengths[rated], edges), names, edges.astype(np.float64)


def _of_sources(data: Encoded, pool: Labels, rated: Labels, count: int, where: str) -> _Given:
    """The largest sources, ties by name, and where there are more all others as one, the last."""
    if ORIGIN not in data.rows:
        raise Refusal(
            f"{where}.by is source, and the pairs of this pool have no column {ORIGIN}, which pairs of files "
            "have, and those of a composed pool with sources; caption_length and embedding are legal."
        )
    # Names once, and codes of them: a text for each of 30 million pairs would take gigabytes.
    column = data.rows[ORIGIN].cat
    is_met = np.bincount(column.codes.to_numpy()[rated], minlength=len(column.categories)) > 0
    code = (np.cumsum(is_met) - 1)[column.codes]
    named = column.categories.to_numpy(dtype=object)[is_met]  # not of the longest's width
    sizes = np.bincount(code[pool], minlength=len(named))
    by_name = np.argsort(named, kind="stable")
    order = by_name[np.argsort(-sizes[by_name], kind="stable")]
    fit = int((sizes >= LEAST).sum())
    kept = fit if fit == len(named) and fit <= count else min(fit, count - 1)
    # All others are one group, and where they are too few, of the smallest that is kept.
    rest = kept - 1 if kept and sizes[order[kept:]].sum() < LEAST else kept
    new = np.full(len(named), rest, dtype=np.int64)
    new[order[:kept]] = np.arange(kept)
    names = [*named[order[:kept]]] + ["the rest"] * (rest == kept)
    return new[code[rated]], names, np.empty(0)


def _of_states(data: Encoded, pool: Labels, rated: Labels, count: int, where: str) -> _Given:
    """k-means of pooled caption states; the centroids are found on the first pairs by a hash of their ids."""
    text = data.rows["text"].to_numpy()
    centroids = found_centroids(_pooled(data, text[pool[: SEEN * count]]), count)
    captions, place = np.unique(text[rated], return_inverse=True)
    in_pool = np.isin(rated, pool)

    def nearest() -> Labels:
        parts = [captions[at : at + PART] for at in range(0, len(captions), PART)]
        return np.concatenate([by_centroid(_pooled(data, part), centroids) for part in parts])[place]

    while (small := _small((labels := nearest())[in_pool], len(centroids))) is not None and len(
        centroids
    ) > 1:
        centroids = np.delete(centroids, small, axis=0)
    return labels, [f"cluster {group}" for group in range(len(centroids))], centroids


def found_centroids(vectors: NDArray[np.floating], count: int) -> NDArray[np.float64]:
    """At most `count` centroids (G, D) of vectors (N, D); the same for any number of threads."""
    from sklearn.cluster import KMeans  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    count, seed = min(count, len(np.unique(vectors, axis=0))), stateless.key("groups") % 2**32
    means = KMeans(count, n_init=1, max_iter=PASSES, random_state=seed)
    with threadpool_limits(1):  # several add up in an order of their own
        centres: NDArray[np.float64] = means.fit(vectors.astype(np.float64)).cluster_centers_
    return centres


def _pooled(data: Encoded, captions: NDArray[np.integer]) -> NDArray[np.float32]:
    """Vectors (N, D) of caption numbers."""
    parts = [data.vectors(captions[at : at + PART]) for at in range(0, len(captions), PART)]
    return np.concatenate(parts)


def _small(labels: Labels, count: int) -> int | None:
    """The smallest of `count` groups if it has too few pairs."""
    sizes = np.bincount(labels, minlength=count)
    return int(sizes.argmin()) if sizes.min() < LEAST else None


_FOUND: dict[str, Callable[[Encoded, Labels, Labels, int, str], _Given]] = {
    "caption_length": _of_lengths,
    "source": _of_sources,
    "embedding": _of_states,
}
