"""Format emoji: a pool composed from OpenMoji artwork, with flaws planted like those of a web crawl.

Every pair is a function of (seed, stream, position). The kind of a pair is ground truth: it
is returned beside the pair and goes to a table of its own, which no rater or trainer reads.
"""

from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from alchemist.core import stateless
from alchemist.core.settings import Settings
from alchemist.core.settings.pool import PoolSettings
from alchemist.pools import emoji_scene
from alchemist.pools.emoji_scene import concept_names
from alchemist.pools.row import ORIGIN, SPLITS, Extra, Row, pixel_hash
from alchemist.pools.seen import Seen

LICENCE = (
    "Artwork: OpenMoji, https://openmoji.org, CC BY-SA 4.0; placed on backgrounds, distorted and captioned."
)
KINDS = ("informative", "plain", "chaotic", "mismatched", "degraded", "duplicate")

_COPIED = 40  # compositions that a stream repeats
_CHUNK = 256  # pairs composed by one call of a worker


class SharesSettings(Settings):
    """Probability of each planted kind, in the order of `KINDS`."""

    informative: float = Field(default=0.5, ge=0, le=1, description="one or two objects, a true caption")
    plain: float = Field(default=0.2, ge=0, le=1, description="near-blank, its object tiny or absent")
    chaotic: float = Field(default=0.12, ge=0, le=1, description="6 to 12 overlapping objects and noise")
    mismatched: float = Field(
        default=0.08, ge=0, le=1, description="an informative image with the caption of another"
    )
    degraded: float = Field(
        default=0.05, ge=0, le=1, description="blurred, JPEG-compressed or of low resolution"
    )
    duplicate: float = Field(default=0.05, ge=0, le=1, description="near copies of a few informative pairs")

    @model_validator(mode="after")
    def _whole(self) -> "SharesSettings":
        total = sum(self.model_dump().values())
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares should sum to 1, and they sum to {total:.7g}")
        return self


class MetaValidationSettings(Settings):
    """The split on which a rater's proxy is validated."""

    pairs: int = Field(default=1000, ge=1, description="pairs of the split")
    source: Literal["mixture", "clean"] = Field(
        default="mixture",
        description="mixture: the shares of the pool, as in the paper; clean: informative pairs alone",
    )


class CleanSettings(Settings):
    """A held-out split of informative pairs alone."""

    pairs: int = Field(default=3000, ge=1, description="pairs of the split")


class EvaluationSettings(Settings):
    """The split that generators are measured on."""

    pairs: int = Field(default=3000, ge=1, description="pairs of the split")
    # Left out of a dump where it is the default, so that such a pool has the card that it always had.
    source: Literal["mixture", "clean"] = Field(
        default="clean",
        exclude_if=lambda held: held == "clean",
        description="clean: informative pairs alone; mixture: the shares of the pool, whose copies the view "
        "`once` counts once",
    )


class RareSettings(Settings):
    """A split that most pools do not have."""

    pairs: int = Field(default=0, ge=0, description="pairs of the split; 0: there is none")


class SourcesSettings(Settings):
    """Sources that the pairs come from, which raters see; that some are bad is planted truth."""

    count: int = Field(default=10, ge=2, le=1000, description="sources, with about as many pairs each")
    bad: int = Field(
        default=1, ge=1, description="of them those whose pairs of the pool's shares all have the flaw"
    )
    flaw: Literal["mismatched", "degraded"] = Field(
        default="mismatched", description="the kind of a bad source's pairs"
    )

    @model_validator(mode="after")
    def _some_good(self) -> "SourcesSettings":
        if self.bad >= self.count:
            raise ValueError(f"bad is {self.bad}; fewer than count ({self.count}) is legal")
        return self


class EmojiPool(PoolSettings):
    """A pool composed from OpenMoji artwork, with flaws planted like those of a web crawl."""

    format: Literal["emoji"] = Field(description="what the pool is made of")
    shard_pairs: int = Field(default=16384, ge=1, description="images a file of pixels")
    seed: int = Field(default=0, ge=0, description="of everything that is drawn")
    resolution: int = Field(default=32, ge=16, le=128, multiple_of=4, description="pixels of a side")
    # A mismatched caption names none of the one or two objects shown, so it takes a third.
    concepts: int = Field(
        default=64, ge=3, description="distinct objects; the first 64 can be told apart at 16 pixels"
    )
    shares: SharesSettings = Field(
        default=SharesSettings(), description="probability of each planted kind; they sum to 1"
    )
    pairs: int = Field(default=8000, ge=1, description="pairs of the split pool, the one that is pruned")
    meta_validation: MetaValidationSettings = Field(
        default=MetaValidationSettings(), description="pairs on which a rater's proxy is validated"
    )
    evaluation: EvaluationSettings = Field(
        default=EvaluationSettings(), description="reference images and prompts of the evaluation"
    )
    scorer: CleanSettings = Field(
        default=CleanSettings(), description="pairs on which the CLIP-Score model is fitted"
    )
    # Left out of a dump where there is none, so that a pool without it has the card that it always had.
    pretraining: RareSettings = Field(
        default=RareSettings(),
        exclude_if=lambda held: held.pairs == 0,
        description="pairs of the pool's shares, on which networks are trained that cells then adapt",
    )
    clean: RareSettings = Field(
        default=RareSettings(),
        exclude_if=lambda held: held.pairs == 0,
        description="informative pairs, a further reference where the evaluation is of the pool's mixture",
    )
    sources: SourcesSettings | None = Field(
        default=None,
        exclude_if=lambda held: held is None,
        description="sources of the pairs, some of them bad; null: pairs tell none",
    )


BLOCK = EmojiPool


@dataclass(frozen=True)
class Pair:
    """One composed pair. `group` names the composition, so that its duplicates share a split."""

    image: NDArray[np.uint8]  # (resolution, resolution, 3)
    caption: str
    kind: str
    group: str


# ---------------------------------------------------------------------- the pool


def rows(pool: EmojiPool, processes: int, source: str = "") -> Iterator[Row]:
    """Every pair of the pool with its split; the same rows for any number of `processes`.

    A held-out pair whose pixels another split has already is composed again, as the same kind. The
    shares of kinds therefore stay as planted (near-blank images repeat often at low resolution).
    """
    seen = Seen()  # pixels, with the split that has them
    done: Counter[str] = Counter()
    for split, first in _composed(pool, _streams(pool), processes):
        pair, attempt, position, code = first, 0, done[split], SPLITS.index(split)
        pixels = pixel_hash(pair.image)
        while seen.add(pixels, code) not in (None, code):
            attempt += 1
            stream, kind = f"{split}-again{attempt}", {first.kind: 1.0}
            pair = compose(pool.seed, stream, position, kind, pool.concepts, pool.resolution)
            pixels = pixel_hash(pair.image)
        name = f"{split}-{position:07d}"
        # Which pairs are copies is truth, for those who measure and for nobody who rates.
        copy_of = pair.group if (split, pair.kind) == ("evaluation", "duplicate") else ""
        came: dict[str, Extra] = {}
        labels: dict[str, Extra] = {}
        if pool.sources is not None:
            number = source_of(pool, split, position)
            came[ORIGIN] = f"source-{number:03d}"
            labels["bad_source"] = int(number in bad_sources(pool))
        yield Row(
            name, pair.caption, split, pair.group, pair.image, "", pair.kind, pixels, source, came, labels,
            copy_of=copy_of,
        )  # fmt: skip
        done[split] += 1


def counts(pool: EmojiPool) -> dict[str, int]:
    """How many rows `rows` gives, by split; all of them are usable."""
    return {split: count for split, count, _ in _streams(pool)}


def expected(pool: EmojiPool) -> int:
    """How many rows `rows` gives."""
    return sum(counts(pool).values())


def _streams(pool: EmojiPool) -> list[tuple[str, int, dict[str, float]]]:
    """Splits, their sizes and shares of kinds."""
    total = sum(pool.shares.model_dump().values())  # 1 within 1e-6; composing needs it closer
    mixture = {kind: share / total for kind, share in pool.shares.model_dump().items()}
    clean = {"informative": 1.0}
    of = {"mixture": mixture, "clean": clean}
    # The last two were added later: behind all others, so that those do not change with them.
    return [
        ("pool", pool.pairs, mixture),
        ("meta_val", pool.meta_validation.pairs, of[pool.meta_validation.source]),
        ("evaluation", pool.evaluation.pairs, of[pool.evaluation.source]),
        ("scorer", pool.scorer.pairs, clean),
        ("pretraining", pool.pretraining.pairs, mixture),
        ("clean", pool.clean.pairs, clean),
    ]


def compose_images(
    pool: EmojiPool, stream: str, shares: dict[str, float], count: int, processes: int
) -> NDArray[np.uint8]:
    """Images (count, resolution, resolution, 3) of a stream of its own, outside every split.

    `shares` maps each kind to its probability. Raises ValueError for a stream with a split's name.
    """
    if stream in SPLITS:
        raise ValueError(f"stream is {stream!r}, which is a split of the pool")
    out = np.empty((count, pool.resolution, pool.resolution, 3), dtype=np.uint8)
    for position, (_, pair) in enumerate(_composed(pool, [(stream, count, shares)], processes)):
        out[position] = pair.image
    return out


# ---------------------------------------------------------------------- many pairs, many processes


def _composed(
    pool: EmojiPool, streams: list[tuple[str, int, dict[str, float]]], processes: int
) -> Iterator[tuple[str, Pair]]:
    """Stream and pair, in order; at most four chunks a process wait in memory."""
    chunks = [
        (pool, stream, shares, range(start, min(start + _CHUNK, count)))
        for stream, count, shares in streams
        for start in range(0, count, _CHUNK)
    ]
    if processes == 1:
        for chunk in chunks:
            yield from _compose_chunk(*chunk)
        return
    with ProcessPoolExecutor(min(processes, len(chunks))) as executor:
        waiting: deque[Future[list[tuple[str, Pair]]]] = deque()
        for chunk in chunks:
            waiting.append(executor.submit(_compose_chunk, *chunk))
            if len(waiting) == 4 * processes:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def _compose_chunk(
    pool: EmojiPool, stream: str, shares: dict[str, float], positions: range
) -> list[tuple[str, Pair]]:
    """Pairs of one stream. At the top of the module, since worker processes find it by its name."""
    return [
        (stream, compose(pool.seed, stream, position, _shares(pool, stream, position, shares), pool.concepts,
                         pool.resolution))
        for position in positions
    ]  # fmt: skip


def _shares(pool: EmojiPool, stream: str, position: int, shares: dict[str, float]) -> dict[str, float]:
    """Shares of kinds of one pair, by its source where there are any."""
    if (
        pool.sources is None
        or stream not in SPLITS
        or source_of(pool, stream, position) not in bad_sources(pool)
    ):
        return shares
    return {pool.sources.flaw: 1.0}


# ---------------------------------------------------------------------- planted sources


def bad_sources(pool: EmojiPool) -> tuple[int, ...]:
    """Numbers of the bad sources; none where the pool has no sources."""
    if pool.sources is None:
        return ()
    draw = stateless.generator("bad sources", pool.seed)
    found = draw.choice(pool.sources.count, pool.sources.bad, replace=False)
    return tuple(int(number) for number in np.sort(found))


def source_of(pool: EmojiPool, split: str, position: int) -> int:
    """The source of pair `position` of a split: any, but of a split of informative pairs alone a good one."""
    assert pool.sources is not None
    shares = next(shares for name, _, shares in _streams(pool) if name == split)
    barred = () if len(shares) > 1 else bad_sources(pool)
    legal = [number for number in range(pool.sources.count) if number not in barred]
    place = stateless.uniforms(stateless.key("source", pool.seed, split), position)
    return legal[int(place * len(legal))]


# ---------------------------------------------------------------------- one pair


def compose(
    seed: int, stream: str, position: int, shares: dict[str, float], concepts: int, resolution: int
) -> Pair:
    """Pair number `position` of a stream. `shares` maps each kind to its probability.

    A duplicate is a near copy of one of forty informative compositions that the stream reserves for
    that. Raises Refusal for more `concepts` than there is artwork.
    """
    names = concept_names(concepts)
    rng = stateless.generator("pair", seed, stream, position)
    kind = KINDS[rng.choice(len(KINDS), p=np.array([shares.get(k, 0.0) for k in KINDS]))]
    group = _group(seed, stream, "pair", position)
    if kind == "plain":
        picture, caption = emoji_scene.plain(rng, names, resolution)
    elif kind == "chaotic":
        picture, caption = emoji_scene.chaotic(rng, names, resolution)
    elif kind == "duplicate":
        number = int(rng.integers(_COPIED))
        group = _group(seed, stream, "copy", number)
        original = stateless.generator("copy", seed, stream, number)
        picture, caption = emoji_scene.scene(original, names, resolution)
        picture = emoji_scene.near_copy(rng, picture)
    else:
        picture, caption = emoji_scene.scene(rng, names, resolution)
        if kind == "mismatched":
            caption = _other_caption(rng, names, resolution, caption)
        elif kind == "degraded":
            picture = emoji_scene.degrade(rng, picture)
    return Pair(np.asarray(picture, dtype=np.uint8), caption, kind, group)


def _other_caption(rng: np.random.Generator, names: tuple[str, ...], resolution: int, caption: str) -> str:
    """The caption of another scene, which names no object of this one."""
    while True:
        other = emoji_scene.scene(rng, names, resolution)[1]
        if not emoji_scene.objects(other) & emoji_scene.objects(caption):
            return other


def _group(*parts: object) -> str:
    """A name that tells nothing of the kind."""
    return f"{stateless.key('group', *parts):016x}"
