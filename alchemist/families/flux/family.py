"""FLUX, as `alchemist.models.family` looks it up."""

from alchemist.families.flux.codec import open_codec
from alchemist.families.flux.generator import FluxGenerator, FluxTrunk
from alchemist.models.family import Family
from alchemist.models.text import NAME, caption_states

FAMILY = Family("flux", open_codec, FluxGenerator, FluxTrunk, caption_states, NAME)
