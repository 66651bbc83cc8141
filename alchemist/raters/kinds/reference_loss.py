"""Kind reference_loss: what a pair's loss is above that of a proxy of the validation split."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.raters.proxy import Found, Plain


class ReferenceLossRater(SeededRater):
    """Loss of a proxy of the pool less that of one of the validation split (after Mindermann et al. 2022)."""

    kind: Literal["reference_loss"] = Field(description="what gives the rating")
    direction: Direction = 1

    def passes(self) -> int:
        """Of two proxies."""
        return 2

    def proxies(self) -> int:
        """One of the pool, one of the validation split."""
        return 2


BLOCK = ReferenceLossRater


def rate(run: "Plain", settings: ReferenceLossRater) -> "Found":
    """Loss of a proxy of the pool less that of one of the validation split (after Mindermann et al. 2022)."""
    from dataclasses import replace

    from alchemist.core import devices
    from alchemist.core.fingerprint import fingerprint
    from alchemist.core.scratch import Scratch
    from alchemist.raters import proxy as plain
    from alchemist.raters import score

    batch = run.budget.score_batch
    proxy, log, flops = plain.trained(run, run.pool)
    # In the folder of the first, which stays until the ratings are in place.
    with Scratch(run.scratch.folder, fingerprint(second=run.scratch.mark), run.scratch.every) as second:
        quiet = replace(run, scratch=second, trained=lambda n, words: None)
        other, more, more_flops = plain.trained(quiet, run.validation)
    elapsed = devices.clock(devices.of(proxy))
    excess = score.pool_losses(proxy, run.data, run.rated, batch, run.scored)
    excess = excess - score.pool_losses(other, run.data, run.rated, batch, run.scored)
    # The log's last row holds the seconds of all tries, here of both proxies.
    log[-1]["seconds"] += more[-1]["seconds"]
    return plain.found(run, proxy, settings.direction * excess, log, flops + more_flops, 2, elapsed())
