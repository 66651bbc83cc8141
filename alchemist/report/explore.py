"""The gallery that one explores: a histogram of a rating to brush, and pairs that follow, each with why."""

from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from alchemist.analysis.agreement import percentiles
from alchemist.analysis.words import number
from alchemist.core import stateless
from alchemist.core.one_line import one_line
from alchemist.pools import store
from alchemist.pruning.laws import law_of, whys
from alchemist.pruning.sampler import Sampler
from alchemist.report.chart import Chart, for_script
from alchemist.report.elements import add, arm_name
from alchemist.report.makeup import deciles
from alchemist.report.material import Material
from alchemist.report.pictures import thumbnail

SHOWN = 300  # pairs whose pictures are in the page, as many of each decile of the first rating
BINS = 40  # of a rating
LETTERS = 160  # of a caption


def explore(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """What the gallery is made of: names for its menus, and all else as JSON for the page's script.

    Of each rater the ratings of the first seed, of each arm the subset of that seed. Histograms count every
    usable pair of the split pool; of the pairs themselves `SHOWN` are there, by a hash of their ids.
    """
    study, seed = material.study, material.study.grid.seeds[0]
    ours = material.roles.nearest
    first = study.selections[ours].rater if ours else next(iter(material.ratings))
    raters = [first, *(name for name in material.ratings if name != first)]
    arms = sorted(study.arms(), key=lambda arm: arm[0] != ours)
    ratings = {name: material.ratings[name][seed] for name in raters}
    every = next(iter(ratings.values())).index
    kept = {arm: np.zeros(len(every), dtype=bool) for arm in arms}  # in the order of the ratings
    for arm, mask in kept.items():
        mask[every.get_indexer(pd.Index(material.subsets[*arm, seed]))] = True
    ids = shown(ratings[first], SHOWN)
    at = every.get_indexer(pd.Index(ids))
    ranks = {name: percentiles(rating).to_numpy()[at] for name, rating in ratings.items()}
    said: dict[str, int] = {}
    why = {}
    for arm in arms:
        law = study.selections[arm[0]]
        assert isinstance(law, Sampler)
        here = {name for name, is_kept in zip(ids, kept[arm][at], strict=True) if is_kept}
        words = whys(ratings[law.rater], here, ids, law_of(law, seed), arm[1])
        why[arm] = [said.setdefault(one, len(said)) for one in words]
    rows = material.index.set_index("id").loc[ids]
    pictures = [thumbnail(image) for image in store.images(material.pool, rows.reset_index())]
    pairs = [
        {
            "id": one_line(name, LETTERS),
            "caption": one_line(caption, LETTERS),
            "kind": "" if material.kinds is None else str(material.kinds[name]),
            "picture": picture,
            "rating": [float(f"{ratings[rater].iloc[place]:.9g}") for rater in raters],
            "rank": [round(float(ranks[rater][k]), 1) for rater in raters],
            "kept": [int(kept[arm][place]) for arm in arms],
            "why": [why[arm][k] for arm in arms],
        }
        for k, (name, place, caption, picture) in enumerate(
            zip(ids, at.tolist(), rows["caption"], pictures, strict=True)
        )
    ]
    bins = [histogram(ratings[rater].to_numpy(), [kept[arm] for arm in arms]) for rater in raters]
    title = "Pairs by rating"
    chart = Chart(
        "brush", title, bins_of(bins[0], 0), "rating", "rating, higher is better", "pairs", height=150
    )
    data = {
        "raters": raters, "arms": [arm_name(*arm) for arm in arms], "pairs": pairs, "whys": list(said),
        "bins": bins,
    }  # fmt: skip
    return {
        "chart": add(charts, "explore", chart),
        "raters": raters,
        "arms": data["arms"],
        "kinds": sorted({pair["kind"] for pair in pairs} - {""}),
        "shown": len(pairs),
        "of": number(len(ratings[first])),
        "data": Markup(for_script(data)),
    }


def shown(rating: "pd.Series[float]", count: int) -> list[str]:
    """`count` ids, or all: equally many of each decile of a rating, in the order of a hash of the id."""
    places = pd.Series(stateless.id_uniforms(rating.index, "report gallery"), index=rating.index)
    order = places.sort_values(kind="stable").index
    turn = deciles(rating).reindex(order).groupby(level=0, sort=False).first()
    within = turn.groupby(turn).cumcount()
    return [str(name) for name in within.sort_values(kind="stable").index[:count]]


def histogram(rating: NDArray[np.floating], kept: list[NDArray[np.bool_]]) -> dict[str, Any]:
    """Edges of `BINS` equal bins of a rating, and in each how many pairs: of all, and of each subset.

    Where ratings are equal, but for rounding, the bins are about them.
    """
    values = rating.astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if high - low < 1e-9 * max(abs(low), abs(high)) or high == low:
        about = 1e-3 * max(abs(low), abs(high)) or 1.0
        low, high = low - about, high + about
    edges = 2 * np.linspace(low / 2, high / 2, BINS + 1)  # halves, so that no range is too large
    at = np.clip(np.searchsorted(edges, values, "right") - 1, 0, BINS - 1)  # the last edge is of the last bin
    counts = np.bincount(at, minlength=BINS)
    each = [np.bincount(at[here], minlength=BINS).tolist() for here in kept]
    return {"edges": edges.tolist(), "all": counts.tolist(), "kept": each}


def bins_of(found: dict[str, Any], arm: int) -> pd.DataFrame:
    """The rows of a histogram's bars, kept and pruned, under the subset of a number."""
    edges = found["edges"]
    rows = [
        {"rating": low, "to": high, "kind": kind, "pairs": count}
        for low, high, whole, kept in zip(edges, edges[1:], found["all"], found["kept"][arm], strict=False)
        for kind, count in (("kept", kept), ("pruned", whole - kept))
    ]
    return pd.DataFrame(rows)
