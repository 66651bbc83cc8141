"""STAR, as `alchemist.models.family` looks it up."""

from alchemist.families.star.codec import make_codec
from alchemist.families.star.generator import StarGenerator, StarTrunk, open_codec
from alchemist.models.family import Family

FAMILY = Family("star", make_codec, open_codec, StarGenerator, StarTrunk)
