"""After how many runs of a model a rating has paid for itself, if its subset is as good as the full data."""

from dataclasses import dataclass

from alchemist.analysis.speedup import break_even
from alchemist.models.training import points
from alchemist.plan.estimates import Estimates
from alchemist.raters.table import LISTS


@dataclass(frozen=True)
class Return:
    """FLOPs of a rating, of a run on the full data and on the subset at equal epochs; the break-even."""

    rater: str
    ratio: float
    model: str
    rating: float
    full: float
    subset: float
    runs: int | None


def returns(of: Estimates) -> list[Return]:
    """Of every rater of the grid that trains a proxy and orders a subset, for every ratio and model."""
    params, out = of.params, list[Return]()
    grid = params.grid
    for name, ratio, model in grid.runs():
        rater = params.selections[name].rater
        if LISTS[params.raters[rater].kind] != "raters" or (rater, ratio, model) in {
            (one.rater, one.ratio, one.model) for one in out
        }:
            continue
        proxy, trunk = of.played(grid.rated_by(rater) or grid.home)
        with of.remembered:
            (once, each, _), image = of.rating(rater, proxy, trunk), 3 * of.forward(model)
        if (rating := once + each * of.pairs.rated) > 0:
            ends = {n: point.images for point in points(of.scale.budget(model), ratio) for n in point.names}
            full, subset = image * ends["equal_images"], image * ends["equal_epochs"]
            runs = break_even(rating, full, subset)
            out.append(Return(rater, ratio, model, rating, full, subset, runs))
    return out
