"""Kind clip_score: how well image and caption agree."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import EmbeddingRater

if TYPE_CHECKING:
    from alchemist.raters.embedding import Embedding, Measure


class ClipScoreRater(EmbeddingRater):
    """Cosine of image and caption under the evaluation's CLIP-like scorer (DataComp's filter)."""

    kind: Literal["clip_score"] = Field(description="what gives the rating")


BLOCK = ClipScoreRater


def rate(run: "Embedding", settings: ClipScoreRater) -> "Measure":
    """Cosines (n,)."""
    from alchemist.core import files
    from alchemist.measures import scorers
    from alchemist.raters.embedding import cosines

    files.check_manifest(run.scorer)
    place = run.evaluate.weights.clip
    judge = scorers.load_scorer(run.evaluate.clip, run.scorer, run.device, place=place)
    return lambda images, captions: cosines(judge, images, captions, run.evaluate.batch)
