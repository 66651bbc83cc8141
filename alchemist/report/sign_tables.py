"""The page's section on signs of a rating that should not be used, and what was measured of each."""

from collections import defaultdict
from typing import Any

from markupsafe import Markup

from alchemist.analysis.signs import of_copies, of_ratings
from alchemist.analysis.words import number
from alchemist.core.settings.rater import seeded
from alchemist.core.settings.signs import SignSettings
from alchemist.raters.signs import EVIDENCE, LAWS, Sign
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Material

Group = dict[tuple[str, str], list[Sign]]  # by what the sign is of, and its name


def sign_tables(material: Material) -> dict[str, Any]:
    """Signs that warn in sentences, every sign's figures, and the measurements behind them."""
    found = signs_of(material)
    rows = [[of, LAWS[name].what, _word(signs), *_figures(signs)] for (of, name), signs in found.items()]
    shown = [name for name in LAWS if name in {name for _, name in found}]
    return {
        "warnings": [_warning(of, signs) for (of, _), signs in found.items() if any(s.warns for s in signs)],
        "table": Table(["Of", "Sign", "", "Value", "Bound", "Fires"], rows, left=3),
        "evidence": Table(
            ["Sign", "When it fires", "What was measured"],
            [
                [LAWS[name].what, LAWS[name].todo, Markup('<small class="why">{}</small>').format(source)]
                for name in shown
                for source in [EVIDENCE[name].source]
            ],
            left=3,
        ),
    }


def signs_of(material: Material) -> Group:
    """Every sign by what it is of: those of one rating by seed, as its rating.json has them, and all others.

    Raters come first, then the pool and what is kept of it.
    """
    found: Group = defaultdict(list)
    for rater, by_seed in material.bills.logs.items():
        once = not seeded(material.study.raters[rater])  # one rating, which stands under every seed
        for facts in list(by_seed.values())[: 1 if once else None]:
            for held in facts.get("signs", []):  # stages embedding and heuristic note none
                one = Sign(held["name"], held["value"], held["threshold"], held["fires"])
                found[rater, one.name].append(one)
    bounds = bounds_of(material)
    clusters = material.index[material.index["status"] == "ok"].set_index("id")["cluster"]
    across = of_ratings(material.study, material.ratings, bounds)
    for seen in [*across, *of_copies(clusters, material.subsets, bounds)]:
        of = seen.of if seen.ratio is None else arm_name(seen.of, seen.ratio)
        found[of, seen.sign.name].append(seen.sign)
    order = [*material.study.raters, *dict.fromkeys(of for of, _ in found)]
    return dict(sorted(found.items(), key=lambda item: order.index(item[0][0])))


def bounds_of(material: Material) -> SignSettings:
    """The bounds that were in force."""
    scale = material.params[f"scales.{material.params['scale']}"]
    return SignSettings.model_validate(scale["rate"]["signs"])


def _figures(signs: list[Sign]) -> list[str]:
    """The values' range over seeds, the bound, and on how many of the seeds it fires."""
    values = [one.value for one in signs]
    ends = list(dict.fromkeys(number(value, 3) for value in (min(values), max(values))))
    side = {"above": "at most", "below": "at least"}[LAWS[signs[0].name].side]
    fired = sum(one.fires for one in signs)
    return [" to ".join(ends), f"{side} {signs[0].threshold:g}", f"{fired} of {len(signs)}"]


def _word(signs: list[Sign]) -> str:
    if any(one.warns for one in signs):
        return Markup("<b>warning</b>")
    return "a figure: not known to matter" if any(one.fires for one in signs) else ""


def _warning(of: str, signs: list[Sign]) -> str:
    worst = max((one for one in signs if one.warns), key=lambda one: abs(one.value - one.threshold))
    law = LAWS[worst.name]
    return f"{of}: {law.what} is {number(worst.value, 3)}, {law.side} {worst.threshold:g}. {law.todo}"
