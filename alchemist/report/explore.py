"""The gallery that one explores: a histogram of a rating to brush, and pairs that follow, each with why.

The pairs are some of all ratings, one by one, or groups of near-duplicates.
"""

from dataclasses import dataclass
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
from alchemist.report.groups import MEMBERS, groups
from alchemist.report.makeup import deciles
from alchemist.report.material import Material
from alchemist.report.pictures import thumbnail

SHOWN = 300  # pairs whose pictures are in the page, as many of each decile of the first rating
BINS = 40  # of a rating
LETTERS = 160  # of a caption
LARGEST = float(np.finfo(np.float64).max)

Arm = tuple[str, float]


@dataclass(frozen=True)
class Rated:
    """All rated pairs: N ratings of each rater of one seed, and what each arm keeps of them by that seed."""

    ids: pd.Index
    ratings: dict[str, "pd.Series[float]"]  # by rater, in the order of `ids`, as all arrays are
    kept: dict[Arm, NDArray[np.bool_]]

    @property
    def arms(self) -> list[Arm]:
        """In their order."""
        return list(self.kept)


def explore(material: Material, charts: dict[str, Chart]) -> dict[str, Any]:
    """What the gallery is made of: names for its menus, and all else as JSON for the page's script.

    Of each rater the ratings of the first seed, of each arm the subset of that seed. Histograms count every
    usable pair of the split pool; of the pairs themselves `SHOWN` are there, by a hash of their ids, and
    those of the largest groups of near-duplicates.
    """
    rated = rated_pairs(material)
    first = next(iter(rated.ratings))
    drawn = shown(rated.ratings[first], SHOWN)
    near = groups(material.index, material.copies["looked"], material.kinds)
    largest = f"the largest {len(near.shown)} of {number(near.count)}"
    names = list(dict.fromkeys([*drawn, *(name for group in near.shown for name in group.shown)]))
    at = {name: number for number, name in enumerate(names)}
    pairs = cards(material, rated, names, near.sizes)
    bins = [histogram(rating.to_numpy(), list(rated.kept.values())) for rating in rated.ratings.values()]
    chart = Chart(
        "brush", "Pairs by rating", bins_of(bins[0], 0), "rating", "rating, higher is better", "pairs",
        height=150,
    )  # fmt: skip
    arms = [arm_name(*arm) for arm in rated.arms]
    data = {
        "raters": list(rated.ratings), "arms": arms, "drawn": len(drawn), "bins": bins, **pairs,
        "groups": [
            {
                "size": len(group.every),
                "pairs": [at[name] for name in group.shown],
                **kept_of(rated, group.every),
            }
            for group in near.shown
        ],
    }  # fmt: skip
    return {
        "chart": add(charts, "explore", chart),
        "raters": data["raters"],
        "arms": arms,
        "kinds": sorted({pair["kind"] for pair in pairs["pairs"]} - {""}),
        "shown": len(drawn),
        "of": number(len(rated.ids)),
        "groups": len(near.shown),
        "members": MEMBERS,
        "largest": largest if near.count > len(near.shown) else "",
        "planted": near.planted,
        "data": Markup(for_script(data)),
    }


def rated_pairs(material: Material) -> Rated:
    """By the first seed; the rating and the arms of ours, or what is nearest to it, first."""
    study, seed = material.study, material.study.grid.seeds[0]
    ours = material.roles.nearest
    first = study.selections[ours].rater if ours else next(iter(material.ratings))
    raters = [first, *(name for name in material.ratings if name != first)]
    ratings = {name: material.ratings[name][seed] for name in raters}
    every = ratings[first].index
    kept = {}
    for arm in sorted(study.arms(), key=lambda arm: arm[0] != ours):
        kept[arm] = np.zeros(len(every), dtype=bool)
        kept[arm][every.get_indexer(pd.Index(material.subsets[*arm, seed]))] = True
    return Rated(every, ratings, kept)


def cards(material: Material, rated: Rated, names: list[str], sizes: "pd.Series[int]") -> dict[str, Any]:
    """Some pairs as the gallery has them, and the sentences of why, which they name by number.

    A pair that was left out as a copy has no rating, rank or why, and says so. `sizes` are of groups of
    near-duplicates, by the ids in them.
    """
    rows = material.index.set_index("id").loc[names]
    at = rated.ids.get_indexer(pd.Index(names))
    pictures = map(thumbnail, store.images(material.pool, rows.reset_index()))
    out: list[dict[str, Any]] = [
        {
            "id": one_line(name, LETTERS),
            "caption": one_line(caption, LETTERS),
            "kind": "" if material.kinds is None or place < 0 else str(material.kinds[name]),
            "picture": picture,
            "copies": int(sizes.get(name, 1)),
            "left_out": reason if place < 0 else "",
            "rating": [],
            "rank": [],
            "kept": [],
            "why": [],
        }
        for name, place, caption, reason, picture in zip(
            names, at.tolist(), rows["caption"], rows["reason"], pictures, strict=True
        )
    ]
    here = [
        (name, place, card) for name, place, card in zip(names, at.tolist(), out, strict=True) if place >= 0
    ]
    for rating in rated.ratings.values():
        ranks = percentiles(rating).to_numpy()
        for _, place, card in here:
            card["rating"].append(float(f"{rating.iloc[place]:.9g}"))
            card["rank"].append(round(float(ranks[place]), 1))
    said: dict[str, int] = {}
    for arm, mask in rated.kept.items():
        for (_, place, card), why in zip(here, _whys(material, rated, arm, here), strict=True):
            card["kept"].append(int(mask[place]))
            card["why"].append(said.setdefault(why, len(said)))
    return {"pairs": out, "whys": list(said)}


def _whys(
    material: Material, rated: Rated, arm: Arm, here: list[tuple[str, int, dict[str, Any]]]
) -> list[str]:
    """Why an arm kept each of some rated pairs (id, place) or not."""
    law = material.study.selections[arm[0]]
    assert isinstance(law, Sampler)
    kept = {name for name, place, _ in here if rated.kept[arm][place]}
    names = [name for name, _, _ in here]
    return whys(rated.ratings[law.rater], kept, names, law_of(law, material.study.grid.seeds[0]), arm[1])


def kept_of(rated: Rated, ids: NDArray[np.object_]) -> dict[str, Any]:
    """How many of some pairs are rated, and how many of them each arm keeps."""
    at = rated.ids.get_indexer(pd.Index(ids))
    at = at[at >= 0]
    return {"rated": len(at), "kept": [int(mask[at].sum()) for mask in rated.kept.values()]}


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
        low, high = max(low - about, -LARGEST), min(high + about, LARGEST)
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
