"""FLUX, as `alchemist.models.family` looks it up."""

from alchemist.families.flux.codec import open_codec
from alchemist.families.flux.generator import FluxGenerator, FluxTrunk
from alchemist.models.family import Family

FAMILY = Family("flux", open_codec, FluxGenerator, FluxTrunk)
