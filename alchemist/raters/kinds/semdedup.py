"""Kind semdedup: how far a pair is from those that are like it."""

from functools import partial
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from alchemist.raters.embedding import Embedding, Floats


class SemDeDupRater(EmbeddingRater):
    """Semantic deduplication (Abbas et al. 2023): rated by the distance to the nearest earlier pair."""

    kind: Literal["semdedup"] = Field(description="what gives the rating")
    clusters: int | None = Field(
        default=None, ge=1, description="of k-means; null: the root of the number of pairs"
    )
    keep: Literal["hard", "random"] = Field(
        default="hard",
        description="of near copies: hard keeps the one farthest from the centroid, as published",
    )
    seed: int = Field(default=0, ge=0, description="of k-means and of the random order")


BLOCK = SemDeDupRater


def rate(run: "Embedding", settings: SemDeDupRater) -> "Floats":
    """Ratings (N,) in [0, 1]; Refusal for more clusters than pairs."""
    from alchemist.measures import features, vectors
    from alchemist.raters import dedup

    if settings.clusters is not None and settings.clusters > len(run.rows):
        raise Refusal(
            f"raters.{run.name}.clusters is {settings.clusters}; the pool has {len(run.rows)} usable pairs, "
            "so at most that, or null for the root of it, is legal."
        )
    batch = run.evaluate.batch
    asked = run.evaluate
    by = features.extractor(asked.features, asked.feature_size, run.device, asked.weights)

    extract = partial(features.extract, by=by, batch=batch)

    def novelty() -> "Floats":
        file = run.drafts / "features.npy"
        vectors.write(run.pool, run.rows, extract, batch, file, run.tick)
        found = dedup.novelty(file, list(run.rows["id"]), settings.clusters, settings.keep, settings.seed)
        file.unlink()
        return found

    return run.measured(lambda images, captions: extract(images), novelty)
