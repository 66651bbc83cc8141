"""Kind aesthetic: how much people like pictures of the kind."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from alchemist.raters.embedding import Embedding, Measure


class AestheticRater(EmbeddingRater):
    """The LAION aesthetic predictor V2 on CLIP ViT-L/14 embeddings; its weights are downloaded."""

    kind: Literal["aesthetic"] = Field(description="what gives the rating")


BLOCK = AestheticRater


def rate(run: "Embedding", settings: AestheticRater) -> "Measure":
    """Figures (n,) from about 1 to 10."""
    from alchemist.raters import aesthetic

    models, batch = aesthetic.load(run.name, run.device), run.evaluate.batch
    return lambda images, captions: aesthetic.score(*models, images, batch)
