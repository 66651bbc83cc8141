"""Kind semdedup: how far a pair is from those that are like it."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from alchemist.raters.embedding import Embedding, Floats, Measure


class SemDeDupRater(EmbeddingRater):
    """Semantic deduplication (Abbas et al. 2023): rated by the distance to the nearest earlier pair."""

    of_all: ClassVar[bool] = True
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


def rate(run: "Embedding", settings: SemDeDupRater) -> "Measure":
    """Features (n, d) of the images; Refusal for more clusters than pairs."""
    from alchemist.raters import dedup

    return dedup.features_by(run, settings.clusters)


def whole(features: "Path", rows: "pd.DataFrame", settings: SemDeDupRater) -> "Floats":
    """Ratings (N,) in [0, 1], of the features (N, d) of `rows` in a file."""
    from alchemist.raters import dedup

    return dedup.novelty(features, rows, settings.clusters, settings.keep, settings.seed)
