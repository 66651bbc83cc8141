"""The blocks `scales.SCALE.encode.text.FAMILY`: the frozen text encoder of a family's captions."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, legal, parse
from alchemist.core.settings.model import families
from alchemist.core.shown import shown

HUB = "a folder, or OWNER/NAME on the Hugging Face hub"
CUT = "word pieces after which a caption is cut"


class TextSettings(Settings):
    """What every block has; `kind` says which class it is of."""

    kind: str = Field(description="which encoder")
    pieces: int = Field(ge=2, le=512, description=CUT)

    def needs(self) -> list[tuple[str, str]]:
        """Published weights, by path or name, and a file in them; none where a package has them."""
        return []


class MiniLmText(TextSettings):
    """The packaged all-MiniLM-L6-v2: states of 384 numbers, pooled by their mean."""

    kind: Literal["minilm"] = Field(description="which encoder")
    pieces: int = Field(default=32, ge=2, le=512, description=CUT)


class ClipText(TextSettings):
    """A CLIP text tower: its last hidden states, pooled by that of the caption's end."""

    kind: Literal["clip"] = Field(description="which encoder")
    weights: str = Field(min_length=1, description=HUB)
    subfolder: str = Field(default="text_encoder", description="of the tower, as diffusers lays it out")
    pieces: int = Field(default=77, ge=2, le=512, description=f"{CUT}; CLIP knows 77")

    def needs(self) -> list[tuple[str, str]]:
        """See TextSettings.needs."""
        return [(self.weights, f"{self.subfolder}/config.json")]


class T5ClipText(TextSettings):
    """Two towers: the last hidden states of T5's encoder, pooled by the vector of a CLIP text tower."""

    kind: Literal["t5_clip"] = Field(description="which encoder")
    weights: str = Field(
        min_length=1, description=f"{HUB}, with CLIP in text_encoder and T5 in text_encoder_2"
    )
    pieces: int = Field(
        default=512,
        ge=2,
        le=512,
        description="word pieces to which T5's captions are cut or padded, unmasked",
    )

    def needs(self) -> list[tuple[str, str]]:
        """See TextSettings.needs."""
        return [(self.weights, f"{part}/config.json") for part in ("text_encoder", "text_encoder_2")]


TEXTS: dict[str, type[TextSettings]] = {"minilm": MiniLmText, "clip": ClipText, "t5_clip": T5ClipText}


def text_settings(value: Any, where: str) -> dict[str, TextSettings]:
    """The text encoders of all families that the block at `where` names."""
    if not isinstance(value, dict):
        raise Refusal(f"{where} is {shown(value)}; it should be a block with a text encoder a family.")
    for name in value:
        if name not in families():
            raise Refusal(legal.wrong_key(f"{where}.{name}", name, families()))
    return {name: _one(given, f"{where}.{name}") for name, given in value.items()}


def _one(value: Any, where: str) -> TextSettings:
    return parse(TEXTS[legal.tag(value, where, "kind", TEXTS)], value, where)


def of_family(texts: Mapping[str, TextSettings], family: str) -> TextSettings:
    """That of one family: the packaged MiniLM where the block does not name it."""
    return texts.get(family, MiniLmText(kind="minilm"))
