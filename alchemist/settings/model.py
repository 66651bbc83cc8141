"""The blocks `models.NAME` and `scales.SCALE.sample`: generators of the families that there are."""

from typing import Any, cast

from alchemist.core.refusal import Refusal
from alchemist.settings import Settings, parse
from alchemist.settings.star import StarLaw, StarSettings

# A family is a line here and one in SampleSettings, beside its folder in alchemist/models/.
ModelSettings = StarSettings
FAMILIES: dict[str, type[ModelSettings]] = {"star": StarSettings}


class SampleSettings(Settings):
    """`scales.SCALE.sample`: each family's own sampling law."""

    star: StarLaw


def model_settings(value: Any, where: str, family: str | None = None) -> ModelSettings:
    """The block at `where`, by its family. Raises Refusal for an unknown one, or one that is not `family`."""
    given = value.get("family") if isinstance(value, dict) else None
    if not isinstance(given, str) or given not in FAMILIES:
        raise Refusal(f"{where}.family is {given!r}; legal values are {', '.join(FAMILIES)}.")
    if family is not None and given != family:
        raise Refusal(f"{where}.family is {given!r}; this stage runs models of the family {family}.")
    return parse(FAMILIES[given], value, where)


def law_settings(value: Any, where: str, family: str) -> Settings:
    """The sampling law at `where` of a family."""
    return parse(cast(type[Settings], SampleSettings.model_fields[family].annotation), value, where)
