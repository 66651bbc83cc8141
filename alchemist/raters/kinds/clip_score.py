"""Kind clip_score: how well image and caption agree."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from alchemist.raters.embedding import Embedding, Floats


class ClipScoreRater(EmbeddingRater):
    """Cosine of image and caption under the evaluation's CLIP-like scorer (DataComp's filter)."""

    kind: Literal["clip_score"] = Field(description="what gives the rating")


BLOCK = ClipScoreRater


def rate(run: "Embedding", settings: ClipScoreRater) -> "Floats":
    """Cosines (N,), streamed."""
    from alchemist.core import files
    from alchemist.measures import clip_score, scorers
    from alchemist.raters import embedding

    files.check_manifest(run.scorer)
    place = run.evaluate.weights.clip
    judge = scorers.load_scorer(run.evaluate.clip, run.scorer, run.device, place=place)
    return run.measured(
        lambda images, captions: clip_score.score(judge, images, captions, run.evaluate.batch),
        lambda: embedding.cosines(judge, run.pool, run.rows, run.evaluate.batch, run.tick),
    )
