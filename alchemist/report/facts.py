"""What it takes to run the study again: seeds, versions, machines, parameters in force."""

import json
from collections.abc import Iterable
from typing import Any

from alchemist.analysis.words import number
from alchemist.core.leaves import leaves
from alchemist.report.material import Material


def facts(material: Material) -> list[tuple[str, str]]:
    """Seeds, versions and the like, as far as the cells' own records hold them."""
    grid = material.study.grid
    out = [("commit of the page", material.commit)] if material.commit else []
    out += [("seeds of raters, samplers and training", ", ".join(map(str, grid.seeds)))]
    drawn = material.study.selections.items()
    out += [(f"added to the seed of selection {n}", str(chosen.seed)) for n, chosen in drawn if chosen.seed]
    seeds = {name: getattr(rater, "seed", None) for name, rater in material.study.raters.items()}
    out += [(f"seed of rater {name}", str(seed)) for name, seed in seeds.items() if seed is not None]
    for key in ("versions", "hardware"):
        found: dict[str, set[str]] = {}
        for score in material.scores.values():
            for name, value in flat(score.get(key, {}), key):
                if value != "{}":
                    found.setdefault(name, set()).add(value)
        out += [(name, ", ".join(sorted(values))) for name, values in sorted(found.items())]
    sizes = material.parameters.items()
    return out + [(f"parameters of model {model}", number(count)) for model, count in sizes]


def flat(value: Any, where: str = "") -> Iterable[tuple[str, str]]:
    """Dotted keys and values of nested blocks, in their order, as text."""
    for key, item in leaves(value, where):
        yield key, item if isinstance(item, str) else json.dumps(item, ensure_ascii=False)
