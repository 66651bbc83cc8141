"""Kind loss: the loss of a proxy trained plainly on the pool."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Found, Plain


class LossRater(SeededRater):
    """The loss of a proxy trained plainly on the pool: the control that the paper lacks."""

    kind: Literal["loss"] = Field(description="what gives the rating")
    direction: Direction = 1


BLOCK = LossRater


def rate(run: "Plain", settings: LossRater) -> "Found":
    """The proxy's loss of each pair, in the rater's direction: the control that the paper lacks."""
    from alchemist.core import devices
    from alchemist.raters import proxy as plain
    from alchemist.raters import score

    proxy, log, flops = plain.trained(run, run.pool)
    elapsed = devices.clock(devices.of(proxy))
    losses = score.pool_losses(proxy, run.data, run.rated, run.budget.score_batch, run.scored)
    return plain.found(run, proxy, settings.direction * losses, log, flops, 1, elapsed())
