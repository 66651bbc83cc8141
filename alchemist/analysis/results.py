"""The figures of the cells: the tidy table, means over seeds, tables of other pools, the summary.

Everything here is a function of files and settings; nothing looks at what else lies in a folder.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alchemist.analysis.grid import FULL, Cell, Study
from alchemist.analysis.metrics import METRICS, better, columns, measured, of_model
from alchemist.analysis.roles import Roles
from alchemist.core import files
from alchemist.core.refusal import Refusal

# What cells must have in common so that their figures can be compared; and those of one family besides.
COMMON = ("names", "n", "reference_n", "decides")
TEXTS = ("cell", "selection", "rater", "sampler", "model", "point")  # columns of the tidy table
LOSSES = ("train_loss", "validation_loss")  # of a checkpoint, in the unit of the family's loss
OF_A_FAMILY = ("floors", "category_floors", "reference_floors", "likelihood")  # two of some pools alone


def read_scores(folder: Path, study: Study) -> dict[str, dict[str, Any]]:
    """The scores of every cell. Raises Refusal where one is missing, damaged or was measured otherwise."""
    scores: dict[str, dict[str, Any]] = {}
    firsts: dict[str, Cell] = {}  # by family
    cells = study.cells()
    for cell in cells:
        path = folder / cell.name / "figures.json"
        if not path.is_file():
            raise Refusal(f"{path} is missing, but the grid names the cell {cell.name}; run dvc repro.")
        files.check_manifest(path.parent)
        scores[cell.name] = files.read_json(path)
        like = firsts.setdefault(study.grid.family_of(cell.model), cell)
        for first, keys in ((cells[0], COMMON), (like, OF_A_FAMILY)):
            for key in keys:
                if scores[cell.name].get(key) != scores[first.name].get(key):
                    raise Refusal(
                        f"the cells {first.name} and {cell.name} differ in {key}, so their figures cannot be "
                        "compared; run dvc repro."
                    )
    return scores


def tidy(study: Study, scores: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a cell and point, under short names; without NLL where no model has a likelihood.

    Where some have one, the rows of the others hold none: NaN in memory, nothing in CSV.
    A checkpoint that serves both comparisons, as the full data's last one does, gives two rows.
    """
    rows = []
    for cell in study.cells():
        score = scores[cell.name]
        figures = columns(score["names"], score["likelihood"])
        chosen = study.selections.get(cell.selection)
        for at in score["checkpoints"]:
            for point in at["points"]:
                rows.append(
                    {
                        "cell": cell.name,
                        "selection": cell.selection,
                        "rater": chosen.rater if chosen else "",
                        "sampler": chosen.sampler if chosen else FULL,
                        "ratio": cell.ratio,
                        "model": cell.model,
                        "seed": cell.seed,
                        "subset_pairs": score["subset_pairs"],
                        "point": point,
                        "images": at["images"],
                        "epochs": at["epochs"],
                        **{name: at[name] for name in LOSSES if name in at},
                        **{short: at[full] for short, full in figures.items()},
                    }
                )
    # Texts as objects: rows of an arm are looked for a thousand times, and Arrow's strings take far longer.
    return pd.DataFrame(rows).astype(dict.fromkeys(TEXTS, object))


@dataclass(frozen=True)
class Stat:
    """A mean over n seeds; `sd` (over n - 1) is None for one seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: "pd.Series[float]") -> "Stat":
        """Mean and spread of at least one value."""
        found = np.asarray(values, dtype=float)  # pandas' own mean and std take ten times as long
        known = found[~np.isnan(found)]
        mean = known.sum() / len(known) if len(known) else math.nan
        spread = ((mean - known) ** 2).sum() / (len(known) - 1) if len(known) > 1 else math.nan
        return cls(float(mean), float(np.sqrt(spread)) if len(found) > 1 else None, len(found))


@dataclass(frozen=True)
class Result:
    """One row of a result table: an arm at one point of the comparison."""

    selection: str
    ratio: float
    pairs: int
    images: int
    epochs: float
    figures: dict[str, Stat]  # by metric
    to_random: dict[str, Stat]  # paired by seed, at equal size; empty where there is nothing to compare
    best: frozenset[str]  # metrics in which no other arm that is a method does better
    losses: dict[str, Stat]  # `LOSSES` and their `gap`, held out less training; {} where none is held out


def results(study: Study, table: pd.DataFrame, model: str, point: str) -> list[Result]:
    """Every arm of a model at a point, the full data first, then ratios falling.

    Images and epochs are means over seeds too, which at the point `best` differ.
    """
    here = of_model(table, model)
    here = here[here["point"] == point]
    by_arm = {
        arm: here[(here["selection"] == arm[0]) & (here["ratio"] == arm[1])].set_index("seed")
        for arm in study.measured(model)
    }
    metrics, random = measured(here), Roles.of(study).random
    figures = {arm: {m: Stat.of(rows[m]) for m in metrics} for arm, rows in by_arm.items()}
    methods = [arm for arm in by_arm if not study.reads_truth(arm[0])]
    best = {}
    for metric in metrics:
        means = [figures[arm][metric].mean for arm in methods]
        best[metric] = max(means) if better(metric) > 0 else min(means)
    out = []
    for arm, rows in by_arm.items():
        name, ratio = arm
        to_random = {}
        beside = by_arm.get((random or FULL, ratio))  # the full data has no partner of its size
        if beside is not None and name not in (FULL, random):
            gaps = rows[list(metrics)] - beside[list(metrics)]
            to_random = {metric: Stat.of(gaps[metric]) for metric in metrics}
        marked = [m for m in metrics if arm in methods and figures[arm][m].mean == best[m]]
        sizes = int(rows["subset_pairs"].iloc[0]), round(rows["images"].mean()), float(rows["epochs"].mean())
        out.append(Result(name, ratio, *sizes, figures[arm], to_random, frozenset(marked), losses(rows)))
    return out


def losses(rows: pd.DataFrame) -> dict[str, Stat]:
    """The losses of an arm's rows and their gap, held out less training; {} where any was not taken."""
    if not set(LOSSES) <= set(rows) or any(rows[name].hasnans for name in LOSSES):
        return {}
    gap = rows["validation_loss"] - rows["train_loss"]
    return {**{name: Stat.of(rows[name]) for name in LOSSES}, "gap": Stat.of(gap)}


def read_beside(
    folder: Path, pool: str, scale: str, names: Mapping[str, str], likelihood: str | None
) -> pd.DataFrame | None:
    """Tables of runs on other pools, under short names; None where there is none.

    `folder` holds tables as `tidy` gives them, with the columns pool and scale and figures under their full
    names. Rows of this pool or of another scale are left out; of a cell that two tables have, the one in the
    file whose name comes first counts. Raises Refusal where a table has not the same figures.
    """
    figures = columns(names, likelihood)
    kept = {*figures, *figures.values()}
    lacking = [metric.name for metric in METRICS if metric.optional and metric.name not in kept]
    found = []
    for path in sorted(folder.glob("*.csv")):
        try:
            rows = pd.read_csv(path)
        except ValueError as error:  # no CSV, no UTF-8, nothing at all
            raise Refusal(f"{path} is no table: {str(error).splitlines()[0]}.") from None
        wanted = ["pool", "scale", "selection", "ratio", "model", "seed", "point", *figures.values()]
        missing = [name for name in wanted if name not in rows]
        if missing:
            raise Refusal(
                f"{path} has no column {missing[0]}; it should be the table.csv of a run with the same "
                "figures as this one."
            )
        rows = rows[(rows["pool"] != pool) & (rows["scale"] == scale)]
        rows = rows.drop(columns=lacking, errors="ignore")
        found.append(rows.rename(columns={full: short for short, full in figures.items()}))
    found = [rows for rows in found if len(rows)]
    if not found:
        return None
    cell = ["pool", "scale", "selection", "ratio", "model", "seed", "point", "images"]
    return pd.concat(found).drop_duplicates(cell, ignore_index=True)


def summary(study: Study, found: Sequence[Result]) -> dict[str, float]:
    """Every metric for `dvc exp show`, of three arms of `found`: the main model's at equal epochs.

    `full` is the full data, `rnd` the random subset, `alc` the paper's selection or the one nearest to it;
    `ratio` is the share that the last two keep, the largest. Means over seeds. The keys do not depend on the
    grid, so that experiments stand in one column; models without a likelihood have no NLL.
    """
    ratio, roles = max(study.grid.ratios), Roles.of(study)
    rows = {(r.selection, r.ratio): r.figures for r in found}
    arms = {"full": (FULL, 1.0)}
    for short, name in (("rnd", roles.random), ("alc", roles.nearest)):
        if name is not None:
            arms[short] = (name, ratio)
    digits = {"fd": 1, "fd_coded": 1, "kid": 4, "clip": 2, "nll": 4}
    return {"ratio": ratio} | {
        f"{metric}_{short}": round(rows[arm][metric].mean, places)
        for metric, places in digits.items()
        for short, arm in arms.items()
        if metric in rows[arm]
    }
