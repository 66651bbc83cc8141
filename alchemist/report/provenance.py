"""What cells began with, by digests: the weights before the first step, and the ids that were trained on."""

from collections import Counter
from typing import Any

import pandas as pd

from alchemist.analysis.words import number, several
from alchemist.report.elements import Table, arm_name
from alchemist.report.material import Material

DIGITS = 16  # of a digest that a person reads
WHOLE = "provenance.csv"  # beside the tables, where they stand in full


def digests(material: Material) -> pd.DataFrame:
    """A row a cell, in their order: initial_sha256 and ids_sha256 as stage train noted them, in full."""
    rows = [
        {
            "cell": cell.name, "selection": cell.selection, "ratio": cell.ratio, "model": cell.model,
            "seed": cell.seed, "subset_pairs": material.scores[cell.name]["subset_pairs"],
            "ids_sha256": material.scores[cell.name]["ids_sha256"],
            "initial_sha256": material.scores[cell.name]["initial_sha256"],
        }
        for cell in material.study.cells()
    ]  # fmt: skip
    return pd.DataFrame(rows)


def provenance(material: Material) -> dict[str, Any]:
    """Whether arms begin alike, and tables of the digests: of initial weights and of subsets."""
    rows = digests(material)
    found: dict[tuple[str, int], Counter[str]] = {}  # cells by what they begin with, by model and seed
    for model, seed, one in zip(rows["model"], rows["seed"], rows["initial_sha256"], strict=True):
        found.setdefault((model, seed), Counter())[one] += 1
    starts = [
        [model, str(seed), several(count, "cell"), one[:DIGITS]]
        for (model, seed), counted in found.items()
        for one, count in counted.items()
    ]
    seeds: dict[tuple[str, float, int, str], list[str]] = {}  # one that no seed draws is equal for all
    arms = rows[["selection", "ratio", "subset_pairs", "ids_sha256", "seed"]].drop_duplicates()
    for *subset, seed in arms.itertuples(index=False, name=None):
        seeds.setdefault(tuple(subset), []).append(str(seed))
    subsets = [
        [arm_name(name, ratio), ", ".join(drawn), number(pairs), one[:DIGITS]]
        for (name, ratio, pairs, one), drawn in seeds.items()
    ]
    return {
        "apart": [f"{model}, seed {seed}" for (model, seed), counted in found.items() if len(counted) > 1],
        "starts": Table(["model", "seed", "trained", "initial weights"], starts, left=4),
        "subsets": Table(["subset", "seeds", "pairs", "ids"], subsets, left=2),
        "digits": DIGITS,
        "file": f"tables/{WHOLE}",
    }
