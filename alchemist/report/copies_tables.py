"""The section on copies: how much of the pool repeats itself, what was done, and the largest clusters that
are not among the pairs that one explores."""

from collections.abc import Mapping
from typing import Any

from alchemist.analysis.words import number
from alchemist.core.one_line import one_line
from alchemist.pools import store
from alchemist.report.elements import Table
from alchemist.report.material import Material
from alchemist.report.pictures import thumbnail

LETTERS = 90  # of a caption


def copies_tables(material: Material) -> dict[str, Any] | None:
    """Words, figures and pictures; None for a composed pool, whose copies are planted and not looked for."""
    facts, rows = material.copies, material.copied
    if not facts["looked"]:
        return None
    asked = facts["settings"]
    other = asked["threshold_other"]
    rule = (
        f"Two pairs of one caption are near copies from a cosine of {asked['threshold']:g} of their "
        f"pictures' features on, two of other captions {'never' if other is None else f'from {other:g} on'}."
        if asked["find"]
        else "Near copies were not looked for; pairs with equal pixels are copies."
    )
    kept = f"Of each cluster in the split pool {number(asked['keep'])} stayed"
    done = kept if facts["dropped"] else "No near copy was dropped"
    figures = [
        ["usable pairs of its own, exact duplicates left out", number(facts["pairs"])],
        ["copies of another pair", f"{number(facts['copies'])}, {_percent(facts['share'])}"],
        ["clusters of several", number(facts["clusters"])],
        ["distinct captions", number(facts["captions"])],
        ["captions that stand more than once", _percent(facts["captions_repeated"])],
        ["pairs with a caption of their own", _percent(facts["pairs_of_own_caption"])],
        ["pairs moved to the split of the first of their cluster", number(facts["moved"])],
        ["copies beyond those in other splits, measured by and not rated", number(facts["unrated"])],
        *([f"left out: {reason}", number(count)] for reason, count in facts["left_out"].items()),
    ]
    rows = rows.set_index("id")
    uris = [thumbnail(image) for image in store.images(material.pool, rows.reset_index())]
    drawn = dict(zip(rows.index, zip(uris, rows["status"], strict=True), strict=True))
    clusters = [
        {
            "size": number(one["size"]),
            "split": one["split"],
            "pairs": [
                {
                    "uri": drawn[name][0],
                    "caption": one_line(caption, LETTERS),
                    "stays": drawn[name][1] == "ok",
                }
                for name, caption in zip(one["ids"], one["captions"], strict=True)
            ],
        }
        for one in elsewhere(facts)
    ]
    words = f"{rule} A cluster lies in one split. {done}: {facts['why']}."
    return {"words": words, "figures": Table(["of the pool", ""], figures), "clusters": clusters}


def elsewhere(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The largest clusters, as the stage copies told them, outside the split that is pruned."""
    return [one for one in facts.get("largest", ()) if one["split"] != "pool"]


def _percent(share: float) -> str:
    return f"{number(100 * share, 1)} %"
