"""FLUX, as `alchemist.models.family` looks it up."""

from pathlib import Path

from alchemist.families.flux.codec import open_codec, write_codec
from alchemist.families.flux.generator import FluxGenerator, FluxTrunk
from alchemist.families.flux.settings import CodecSettings
from alchemist.models.family import CodecSource, Family


def make_codec(settings: CodecSettings, source: CodecSource, folder: Path) -> str:
    """Fills a folder with the codec that the settings ask for: see `write_codec`."""
    write_codec(folder, settings, source.resolution)
    return f"{settings.kind} of {source.resolution} x {source.resolution} pixels"


FAMILY = Family("flux", make_codec, open_codec, FluxGenerator, FluxTrunk)
