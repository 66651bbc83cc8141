"""Kind cluster_balance: as many pairs of each cluster of like images as there are places."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from alchemist.raters.embedding import Embedding, Floats, Measure


class ClusterBalanceRater(EmbeddingRater):
    """Rated by minus the place within its cluster of like images, so that Top-K takes of each as many.

    A cluster that is smaller than its share is kept whole, and the others fill its places.
    """

    of_all: ClassVar[bool] = True
    kind: Literal["cluster_balance"] = Field(description="what gives the rating")
    clusters: int | None = Field(
        default=None, ge=1, description="of k-means; null: the root of the number of pairs"
    )
    seed: int = Field(default=0, ge=0, description="of k-means and of the order within a cluster")


BLOCK = ClusterBalanceRater


def rate(run: "Embedding", settings: ClusterBalanceRater) -> "Measure":
    """Features (n, d) of the images; Refusal for more clusters than pairs."""
    from alchemist.raters import dedup

    return dedup.features_by(run, settings.clusters)


def whole(features: "Path", rows: "pd.DataFrame", settings: ClusterBalanceRater) -> "Floats":
    """Ratings (N,), 0 for the first of each cluster, of the features (N, d) of `rows` in a file."""
    from alchemist.raters import dedup

    return dedup.balance(features, rows, settings.clusters, settings.seed)
