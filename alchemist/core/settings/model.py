"""The blocks `models.NAME`, `scales.SCALE.sample` and `codecs.FAMILY`: what each family says for itself.

A family's own classes stand in `alchemist/families/FAMILY/settings.py`, as MODEL, LAW and CODEC, and are
looked up by name: a new family changes no file that the cells of another depend on.
"""

import importlib
from pathlib import Path
from typing import Any, ClassVar, cast

from pydantic import Field

from alchemist.core.refusal import Refusal
from alchemist.core.settings import Settings, legal, parse
from alchemist.core.shown import shown

FAMILIES = Path(__file__).parents[2] / "families"


class ModelSettings(Settings):
    """The size of one generator; its family has further fields."""

    family: str = Field(description="the model family")
    # Whether the generator's losses are likelihoods of held-out pairs, as its own `likelihood` says too.
    has_likelihood: ClassVar[bool] = True

    @property
    def adapts(self) -> bool:
        """Whether its cells adapt a network that the stage pretrain trains."""
        return False

    def named_weights(self) -> str | None:
        """The path or name of published weights that training starts from, if any."""
        return None

    def whole(self) -> "ModelSettings":
        """That network by itself, of random weights and with nothing frozen."""
        raise NotImplementedError

    def starting_at(self, checkpoint: Path) -> "ModelSettings":
        """The same model on the weights of that network in a file."""
        raise NotImplementedError


class FamilyCodec(Settings):
    """Which image codec a family has; its family has the fields."""

    # What to do where its reconstructions are too far from the images, as part of a sentence.
    remedy: ClassVar[str] = "another codec may do better, and one that keeps pixels loses nothing"

    def named_weights(self) -> str | None:
        """The path or name of the published weights that it takes, if any."""
        return None

    def check(self, where: str, resolution: int, folder: Path) -> None:
        """Raises Refusal where the codec, the block at `where`, takes no images of `resolution` pixels a side
        or is not in `folder`, which holds those of the repo."""

    def fitted_on(self, pairs: int | None) -> int | None:
        """Images that a fit to a pool of so many pairs sees, repeats included; None where nothing is fitted.

        `pairs` is None where a pool composes as many as are asked for. Raises Refusal for too few.
        """
        return None


def families() -> list[str]:
    """Names of the families that there are."""
    return sorted(path.parent.name for path in FAMILIES.glob("*/settings.py"))


def classes(family: str) -> Any:
    """The module of a family's settings, with MODEL, LAW and CODEC."""
    return importlib.import_module(f"alchemist.families.{family}.settings")


def model_settings(value: Any, where: str, family: str | None = None) -> ModelSettings:
    """The block at `where`, by its family. Raises Refusal for an unknown one, or one that is not `family`."""
    given = legal.tag(value, where, "family", families())
    if family is not None and given != family:
        raise Refusal(f"{where}.family is {shown(given)}; this stage runs models of the family {family}.")
    return parse(cast(type[ModelSettings], classes(given).MODEL), value, where)


def law_settings(value: Any, where: str, family: str) -> Settings:
    """The sampling law at `where` of a family."""
    return _of_family(value, where, family, "LAW")


def sample_settings(value: Any, where: str) -> dict[str, Settings]:
    """The laws of all families that the block at `where` names."""
    return _by_family(value, where, "LAW", "a law")


def codec_settings(value: Any, where: str) -> dict[str, FamilyCodec]:
    """The codecs of all families that the block at `where` names."""
    return cast(dict[str, FamilyCodec], _by_family(value, where, "CODEC", "a block"))


def _by_family(value: Any, where: str, kind: str, what: str) -> dict[str, Settings]:
    if not isinstance(value, dict) or not value:
        raise Refusal(f"{where} is {shown(value)}; it should be a block with {what} for each family in use.")
    for name in value:
        if name not in families():
            raise Refusal(legal.wrong_key(f"{where}.{name}", name, families()))
    return {name: _of_family(block, f"{where}.{name}", name, kind) for name, block in value.items()}


def _of_family(value: Any, where: str, family: str, kind: str) -> Settings:
    return parse(cast(type[Settings], getattr(classes(family), kind)), value, where)
