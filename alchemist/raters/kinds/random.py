"""Kind random: a hash of seed and id, the control of every rater."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Found
    from alchemist.raters.run import Run


class RandomRater(SeededRater):
    """A hash of seed and id."""

    kind: Literal["random"] = Field(description="what gives the rating")

    def proxies(self) -> int:
        """None."""
        return 0


BLOCK = RandomRater


def rate(run: "Run", settings: RandomRater) -> "Found":
    """A draw a pair, which depends on its id alone."""
    from alchemist.core import stateless
    from alchemist.raters.proxy import Found

    return Found(stateless.id_uniforms(run.ids, "random", run.seed), [], 0.0, 0.0, 0.0)
