"""STAR, next-scale prediction: everything that is true of this family alone."""

from alchemist.models.family import Family
from alchemist.models.star.generator import StarGenerator, StarTrunk, open_codec
from alchemist.models.text import NAME, caption_states

FAMILY = Family("star", open_codec, StarGenerator, StarTrunk, caption_states, NAME)
