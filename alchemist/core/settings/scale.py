"""The blocks `scales.NAME`: budgets. Defaults are those of the scale `tiny`."""

from typing import Any

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, parse
from alchemist.core.settings.budget import EncodeSettings, RateSettings, TrainSettings
from alchemist.core.settings.evaluation import EvaluateSettings, ScorerSettings
from alchemist.core.settings.model import sample_settings
from alchemist.core.settings.text import text_settings
from alchemist.core.shown import named, shown


class ScaleSettings(Settings):
    """A block of `scales:`; a section that keeps all defaults is {}, since stages track sections by name."""

    encode: EncodeSettings = Field(description="pixels and captions to what a family trains on")
    scorer: ScorerSettings = Field(description="the CLIP-like model of the evaluation")
    rate: RateSettings = Field(description="training of a rater and its proxy")
    train: TrainSettings = Field(description="training of every cell")
    # Each is laid over `train`: see `scale_settings`.
    train_of: dict[str, Any] = Field(
        default={}, description="of single models, by their names: what differs from train"
    )
    pretrain: TrainSettings | None = Field(
        default=None,
        description="training of a network that cells then adapt; null: none is trained at this scale",
    )
    evaluate: EvaluateSettings = Field(description="what every checkpoint is measured by")
    # A law of its own for each family in use: see `settings.model.sample_settings`.
    sample: dict[str, Any] = Field(description="how each family in use draws images, by its name")
    # Only the report reads it.
    meaningful: bool = Field(
        default=True,
        description="whether its figures may be read; false where budgets are so short that no figure means "
        "anything, and the page says so at its top",
    )

    def budget(self, model: str) -> TrainSettings:
        """What every cell of a model spends."""
        own: TrainSettings = self.train_of.get(model, self.train)
        return own


def scale_settings(value: Any, where: str) -> ScaleSettings:
    """The block at `where`, with what it says of each family (text encoders, laws) and model checked.

    Its `train_of` has whole budgets.
    """
    scale = parse(ScaleSettings, value, where)
    if isinstance(part := value.get("pretrain"), dict) and "checkpoints" in part:
        raise Refusal(
            f"{where}.pretrain.checkpoints is {shown(part['checkpoints'])}; it should be left out: "
            "the end of that training alone is kept."
        )
    own = {}
    for name, part in scale.train_of.items():
        key = f"{where}.train_of.{named(name)}"
        parse(TrainSettings, part, key)  # alone first: a wrong key or a value that is no block
        own[name] = parse(TrainSettings, {**value["train"], **part}, key)
    texts = text_settings(scale.encode.text, f"{where}.encode.text")
    return scale.model_copy(
        update={
            "encode": scale.encode.model_copy(update={"text": texts}),
            "train_of": own,
            "sample": sample_settings(scale.sample, f"{where}.sample"),
        }
    )
