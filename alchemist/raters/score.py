"""What trained networks say of every pair, streamed: of the pool, only one number a pair stays in memory."""

import hashlib
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from alchemist.core import devices, finite, stateless, world
from alchemist.models.batch import Batch, Chance
from alchemist.models.encoded import Encoded, PoolRows, Rows
from alchemist.models.family import Generator, Tick
from alchemist.raters.compared import Compared
from alchemist.raters.groups import Groups
from alchemist.raters.kinds.meta import MetaRater
from alchemist.raters.network import Group, Rater, batch_ratings, rate

Beside = Group | Compared | None  # what pairs are rated by, of a rater
Floats = NDArray[np.float64]
SCORED = stateless.key("scored")  # the chance of every score: the same for all models that are compared


@torch.no_grad()
def over_rows(
    of: Callable[[Batch, Chance], Tensor],
    data: Encoded,
    numbers: NDArray[np.int64],
    batch: int,
    device: torch.device,
    tick: Tick,
    uncaptioned: bool = False,
) -> list[Tensor]:
    """What a network gives for the pairs at row numbers, batch by batch, without what training draws.

    The chance of a pair is (SCORED, a hash of its id). `uncaptioned` puts the empty caption in place of all.
    Several processes share the batches, and each gets what all found.
    """
    found = []
    own = world.mine(len(numbers), batch)
    starts = range(own.start, own.stop, batch) or range(
        0, 1
    )  # who has no batch passes one, and gives nothing
    for start in starts:
        chosen = numbers[start : start + batch]
        dropped = np.ones(len(chosen), dtype=np.bool_) if uncaptioned else None
        pairs, chance = data.batch(chosen, dropped).to(device), Chance(SCORED, data.positions(chosen))
        with devices.passes(device):
            found.append(of(pairs, chance))
        tick(len(chosen) * world.count())
    if world.count() > 1:
        return [world.joined(torch.cat(found)[: own.stop - own.start], len(numbers), batch)]
    return found


# ------------------------------------------------------------------------------ by a trained rater


def group_members(pool: PoolRows, count: int, seed: int) -> NDArray[np.int64]:
    """Row numbers of the reference group: a draw from the pool that depends on the seed and the ids alone."""
    count = min(count, len(pool))
    places = stateless.generator("reference", seed).choice(len(pool), count, replace=False)
    return pool.numbers[np.sort(places)]


def pooled_features(
    rater: Rater, data: Encoded, numbers: NDArray[np.int64], batch: int, tick: Tick = lambda n: None
) -> Tensor:
    """The rater's features (N, C) of pairs, without caption dropout and drop-path, float32."""
    return torch.cat(over_rows(rater.features, data, numbers, batch, devices.of(rater), tick))


def digest(features: Tensor) -> str:
    """sha256 of the reference group's features, stored beside the ids of its members."""
    return hashlib.sha256(devices.host(features).tobytes()).hexdigest()


def ratings(
    rater: Rater, features: Tensor, beside: Beside, settings: MetaRater, labels: NDArray[np.int64] | None
) -> Tensor:
    """Ratings (B,) of a batch's features.

    `beside` is not used under rating_mode `batch`, and the pairs' groups (B,) where it has any.
    """
    if isinstance(beside, Compared):
        assert labels is not None
        return beside.rate(rater.logits(features), labels, settings.bound)
    if settings.rating_mode == "batch":
        return batch_ratings(rater, features)
    assert beside is not None
    return rate(rater, features, beside, settings.group, settings.bound)


def rate_pool(
    rater: Rater,
    data: Encoded,
    rows: Rows,
    beside: Beside,
    settings: MetaRater,
    batch: int,
    tick: Tick,
    groups: Groups | None = None,
) -> Floats:
    """Ratings of rows, in their order; `groups` are those of the pool, where a rater has any.

    Under rating_mode `batch` they depend on `batch`, on the order of rows and on every neighbour, as
    published; the last batch, where smaller, gets larger shares.
    """

    def of(pairs: Batch, chance: Chance) -> Tensor:
        features = rater.features(pairs, chance)
        if groups is not None:
            return rater.logits(features)
        return ratings(rater, features, beside, settings, None)

    found = over_rows(of, data, rows.numbers, batch, devices.of(rater), tick)
    if groups is not None:  # what is of all pairs of a group needs no pass
        assert isinstance(beside, Compared)
        found = [beside.rate(torch.cat(found), groups.labels[rows.numbers], settings.bound)]
    return _doubles(found, "rating", data, rows, "rate.rater_learning_rate")


# ------------------------------------------------------------------------------ by a proxy


def pool_losses(proxy: Generator, data: Encoded, rows: Rows, batch: int, tick: Tick) -> Floats:
    """Losses (N,) of rows, float32 products, in the family's own unit."""
    found = over_rows(proxy.losses, data, rows.numbers, batch, devices.of(proxy), tick)
    return _doubles(found, "loss", data, rows)


def caption_losses(
    proxy: Generator, data: Encoded, rows: Rows, batch: int, tick: Tick
) -> tuple[Floats, Floats]:
    """L(x | caption) and L(x | empty caption) of rows: (N,) each, float32 products.

    Their difference, empty less given, is what the caption tells about the image (the log-ratio that
    classifier-free guidance follows, Ho & Salimans 2022). The proxy should have seen empty captions. `tick`
    hears of every pair twice.
    """
    device = devices.of(proxy)
    given = over_rows(proxy.losses, data, rows.numbers, batch, device, tick)
    empty = over_rows(proxy.losses, data, rows.numbers, batch, device, tick, uncaptioned=True)
    without = _doubles(empty, "loss without a caption", data, rows)
    return _doubles(given, "loss", data, rows), without


def error_norms(proxy: Generator, data: Encoded, rows: Rows, batch: int, tick: Tick) -> Floats:
    """EL2N (Paul et al. 2021) of rows at one checkpoint, (N,), as the family defines it.

    Float32 products. Paul et al. average several early checkpoints; the caller does.
    """
    found = over_rows(proxy.error_norms, data, rows.numbers, batch, devices.of(proxy), tick)
    return _doubles(found, "error norm", data, rows)


def _doubles(
    parts: list[Tensor], what: str, data: Encoded, rows: Rows, key: str = "rate.proxy_learning_rate"
) -> Floats:
    """Figures (N,) of rows. Raises Refusal, with their ids, where some are not finite."""
    values: Floats = devices.host(torch.cat(parts).double())
    if not np.isfinite(values).all():  # ids of a whole pool are not asked for else
        finite.check(what, values, data.rows["id"].iloc[rows.numbers].tolist(), f"a smaller {key} may help")
    return values
