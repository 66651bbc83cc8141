"""The gallery that one explores: a histogram of a rating to brush, and pairs that follow, each with why."""

import json
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from alchemist.analysis.agreement import percentiles
from alchemist.analysis.words import number
from alchemist.core import stateless
from alchemist.core.one_line import one_line
from alchemist.pools import store
from alchemist.pruning.sampler import Sampler
from alchemist.report.chart import Chart
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
    kept = {arm: set(material.subsets[*arm, seed]) for arm in arms}
    ids = shown(ratings[first], SHOWN)
    ranks = {name: percentiles(rating) for name, rating in ratings.items()}
    whys: dict[str, int] = {}

    def why(name: str, arm: tuple[str, float]) -> int:
        law = study.selections[arm[0]]
        assert isinstance(law, Sampler)
        said = law.why(float(ranks[law.rater][name]), arm[1], name in kept[arm])
        return whys.setdefault(said, len(whys))

    rows = material.index.set_index("id").loc[ids]
    pictures = [thumbnail(image) for image in store.images(material.pool, rows.reset_index())]
    pairs = [
        {
            "id": one_line(name, LETTERS),
            "caption": one_line(caption, LETTERS),
            "kind": "" if material.kinds is None else str(material.kinds[name]),
            "picture": picture,
            "rating": [_short(ratings[rater][name]) for rater in raters],
            "rank": [round(float(ranks[rater][name]), 1) for rater in raters],
            "kept": [int(name in kept[arm]) for arm in arms],
            "why": [why(name, arm) for arm in arms],
        }
        for name, caption, picture in zip(ids, rows["caption"], pictures, strict=True)
    ]
    bins = [histogram(ratings[rater], [kept[arm] for arm in arms]) for rater in raters]
    title = "Pairs by rating"
    chart = Chart(
        "brush", title, bins_of(bins[0], 0), "rating", "rating, higher is better", "pairs", height=150
    )
    data = {
        "raters": raters, "arms": [arm_name(*arm) for arm in arms], "pairs": pairs, "whys": list(whys),
        "bins": bins,
    }  # fmt: skip
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    return {
        "chart": add(charts, "explore", chart),
        "raters": raters,
        "arms": data["arms"],
        "kinds": sorted({pair["kind"] for pair in pairs} - {""}),
        "shown": len(pairs),
        "of": number(len(ratings[first])),
        "data": Markup(text),
    }


def shown(rating: "pd.Series[float]", count: int) -> list[str]:
    """`count` ids, or all: equally many of each decile of a rating, in the order of a hash of the id."""
    places = pd.Series(stateless.id_uniforms(rating.index, "report gallery"), index=rating.index)
    order = places.sort_values(kind="stable").index
    turn = deciles(rating).reindex(order).groupby(level=0, sort=False).first()
    within = turn.groupby(turn).cumcount()
    return [str(name) for name in within.sort_values(kind="stable").index[:count]]


def histogram(rating: "pd.Series[float]", kept: list[set[str]]) -> dict[str, Any]:
    """Edges of `BINS` equal bins of a rating, and in each how many pairs: of all, and of each subset."""
    values = rating.to_numpy(dtype=np.float64)
    counts, edges = np.histogram(values, BINS)
    each = [np.histogram(values[rating.index.isin(ids)], edges)[0].tolist() for ids in kept]
    return {"edges": [_short(edge) for edge in edges], "all": counts.tolist(), "kept": each}


def bins_of(found: dict[str, Any], arm: int) -> pd.DataFrame:
    """The rows of a histogram's bars, kept and pruned, under the subset of a number."""
    edges = found["edges"]
    rows = [
        {"rating": low, "to": high, "kind": kind, "pairs": count}
        for low, high, whole, kept in zip(edges, edges[1:], found["all"], found["kept"][arm], strict=False)
        for kind, count in (("kept", kept), ("pruned", whole - kept))
    ]
    return pd.DataFrame(rows)


def _short(value: float) -> float:
    """Five digits that count."""
    return float(f"{value:.5g}")
