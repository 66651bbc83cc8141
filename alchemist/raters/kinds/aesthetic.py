"""Kind aesthetic: how much people like pictures of the kind."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from alchemist.raters.embedding import Embedding, Floats


class AestheticRater(EmbeddingRater):
    """The LAION aesthetic predictor V2 on CLIP ViT-L/14 embeddings; its weights are downloaded."""

    kind: Literal["aesthetic"] = Field(description="what gives the rating")


BLOCK = AestheticRater


def rate(run: "Embedding", settings: AestheticRater) -> "Floats":
    """Figures (N,) from about 1 to 10, streamed."""
    from alchemist.raters import aesthetic

    models, batch = aesthetic.load(run.name, run.device), run.evaluate.batch
    return run.measured(
        lambda images, captions: aesthetic.score(*models, images, batch),
        lambda: aesthetic.score_pool(run.pool, run.rows, models, batch, run.tick),
    )
