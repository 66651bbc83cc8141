"""The blocks `scales.NAME`: budgets. Defaults are those of the scale `tiny`."""

from typing import Any

from pydantic import Field

from alchemist.core.settings import Settings, parse
from alchemist.core.settings.budget import EncodeSettings, RateSettings, TrainSettings
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings
from alchemist.core.settings.model import sample_settings
from alchemist.core.settings.text import text_settings


class ScaleSettings(Settings):
    """A block of `scales:`; a section that keeps all defaults is {}, since stages track sections by name."""

    encode: EncodeSettings = Field(description="pixels and captions to what a family trains on")
    scorer: ScorerSettings = Field(description="the CLIP-like model of the evaluation")
    rate: RateSettings = Field(description="training of a rater and its proxy")
    train: TrainSettings = Field(description="training of every cell")
    evaluate: EvaluateSettings = Field(description="what every checkpoint is measured by")
    # A law of its own for each family in use: see `settings.model.sample_settings`.
    sample: dict[str, Any] = Field(description="how each family in use draws images, by its name")


def scale_settings(value: Any, where: str) -> ScaleSettings:
    """The block at `where`, with what it says of each family (text encoders, laws) checked by its class."""
    scale = parse(ScaleSettings, value, where)
    texts = text_settings(scale.encode.text, f"{where}.encode.text")
    return scale.model_copy(
        update={
            "encode": scale.encode.model_copy(update={"text": texts}),
            "sample": sample_settings(scale.sample, f"{where}.sample"),
        }
    )
