"""STAR, as `alchemist.models.family` looks it up."""

from alchemist.families.star.generator import StarGenerator, StarTrunk, open_codec
from alchemist.models.family import Family

FAMILY = Family("star", open_codec, StarGenerator, StarTrunk)
