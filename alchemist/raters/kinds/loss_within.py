"""Kind loss_within: ours, the loss of a plain proxy beside that of the pairs of the same group."""

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from alchemist.core.settings.groups import StrataSettings
from alchemist.core.settings.rater import Direction, SeededRater

if TYPE_CHECKING:
    from alchemist.raters.groups import Labels
    from alchemist.raters.proxy import Floats, Found, Plain


class LossWithinRater(SeededRater):
    """A pair's percentile by loss within its group, so that Top-K takes an equal share of each (ours).

    A ranking by loss over the whole pool prefers some captions, or sources, to others; this one does not.
    """

    kind: Literal["loss_within"] = Field(description="what gives the rating")
    direction: Direction = 1
    groups: StrataSettings = Field(
        default=StrataSettings(), description="within which pairs are ranked by the loss"
    )


BLOCK = LossWithinRater


def rate(run: "Plain", settings: LossWithinRater) -> "Found":
    """Percentiles of the proxy's losses within groups, in the rater's direction.

    Lent pairs are ranked among themselves, so that a group has its equal share of the split pool too. Raises
    Refusal where all pairs are of one group.
    """
    from dataclasses import replace

    import numpy as np

    from alchemist.core.refusal import Refusal
    from alchemist.raters import groups
    from alchemist.raters.kinds import loss

    where, by = f"raters.{run.name}.groups", settings.groups.by
    labels, names, _ = groups.of_rated(run, settings.groups, where)
    if len(names) == 1:
        raise Refusal(
            f"{where}.by is {by}, and by it all pairs are of one group, within which a ranking is that of "
            "kind loss; another by, or kind loss, is legal."
        )
    found = loss.rate(run, loss.LossRater(kind="loss", direction=settings.direction))
    sizes = np.bincount(labels[: len(run.pool)], minlength=len(names)).tolist()
    told = [{"name": name, "pairs": pairs} for name, pairs in zip(names, sizes, strict=True)]
    is_lent = np.arange(len(labels)) >= len(run.pool)
    return replace(found, rating=within(found.rating, 2 * labels + is_lent), facts={"groups": told})


def within(values: "Floats", labels: "Labels") -> "Floats":
    """Percentile (N,) of each value among those of its label, between 0 and 100; equal ones share their mean.

    Of the middles of ranks, so that above any percentile stand like shares of a small group and a large one.
    """
    import pandas as pd

    ranked = pd.Series(values).groupby(labels)
    shares: Floats = (100 * (ranked.rank(method="average") - 0.5) / ranked.transform("size")).to_numpy()
    return shares
