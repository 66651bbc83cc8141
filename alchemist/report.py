"""The result tables of the report: the cells that the grid names, their scores, the paper's numbers.

Everything here is a function of files and settings; nothing looks at what else lies in a folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alchemist import files
from alchemist.refusal import Refusal
from alchemist.settings.grid import GridSettings
from alchemist.settings.rater import MetaRater, RaterSettings
from alchemist.settings.selection import SelectionSettings

FULL = "full"
METRICS = ("fd", "fd_tokenized", "kid", "clip", "nll")
HIGHER = ("clip",)  # all other metrics are better when lower
_PAPER = Path(__file__).with_name("paper_results.csv")


@dataclass(frozen=True)
class Cell:
    """One trained and measured generator; the full-data run has ratio 1."""

    name: str
    selection: str
    ratio: float
    model: str
    seed: int


@dataclass(frozen=True)
class Study:
    """The grid, with the selections and raters that it names."""

    grid: GridSettings
    selections: dict[str, SelectionSettings]
    raters: dict[str, RaterSettings]

    def cells(self) -> list[Cell]:
        """All cells, the full data first."""
        runs = [(m, s) for m in self.grid.models for s in self.grid.seeds]
        return [Cell(f"{FULL}-{m}-{s}", FULL, 1.0, m, s) for m, s in runs] + [
            Cell(f"{name}-{ratio}-{m}-{s}", name, ratio, m, s) for name, ratio in self.arms() for m, s in runs
        ]

    def arms(self) -> list[tuple[str, float]]:
        """Selections x ratios, ratios falling."""
        ratios = sorted(self.grid.ratios, reverse=True)
        return [(name, ratio) for ratio in ratios for name in self.grid.selections]

    def reads_truth(self, selection: str) -> bool:
        """Whether a selection sees planted truth, so that it is a bound and no method."""
        return selection != FULL and self.raters[self.selections[selection].rater].kind == "oracle"

    @property
    def baseline(self) -> str | None:
        """The first selection of the grid that draws at random."""
        for name in self.grid.selections:
            if self.selections[name].sampler == "random" or self._kind(name) == "random":
                return name
        return None

    @property
    def headline(self) -> str | None:
        """The first selection of the grid that is the paper's: Shift-Gsample on a meta-trained rating."""
        found = [name for name in self.grid.selections if self._kind(name) == "meta"]
        shifted = [name for name in found if self.selections[name].sampler == "shift_gsample"]
        return next(iter(shifted or found), None)

    def _kind(self, selection: str) -> str:
        return self.raters[self.selections[selection].rater].kind


def read_scores(folder: Path, cells: list[Cell]) -> dict[str, dict[str, Any]]:
    """The scores of every cell. Raises Refusal where one is missing or was measured otherwise."""
    scores: dict[str, dict[str, Any]] = {}
    for cell in cells:
        path = folder / f"{cell.name}.json"
        if not path.is_file():
            raise Refusal(f"{path} is missing, but the grid names the cell {cell.name}; run dvc repro.")
        scores[cell.name] = files.read_json(path)
        for key in ("names", "n", "reference_n", "floors"):
            first = scores[cells[0].name][key]
            if scores[cell.name][key] != first:
                raise Refusal(
                    f"the cells {cells[0].name} and {cell.name} differ in {key}, so their figures cannot be "
                    "compared; run dvc repro."
                )
    return scores


def columns(names: Mapping[str, str]) -> dict[str, str]:
    """Our short names of the figures and the full names that scores hold them under."""
    return {
        "fd": names["fd"],
        "fd_tokenized": f"{names['fd']}_tokenized",
        "kid": names["kid"],
        "kid_sd": f"{names['kid']}_sd",
        "clip": names["clip"],
        "nll": "nll",
    }


def tidy(study: Study, scores: Mapping[str, dict[str, Any]]) -> pd.DataFrame:
    """One row a cell and point, under short names.

    A checkpoint that serves both comparisons, as the full data's last one does, gives two rows.
    """
    rows = []
    for cell in study.cells():
        score = scores[cell.name]
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
                        **{short: at[full] for short, full in columns(score["names"]).items()},
                        "seconds": at["seconds"],
                    }
                )
    return pd.DataFrame(rows)


@dataclass(frozen=True)
class Stat:
    """A mean over n seeds; `sd` (over n - 1) is None for one seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: "pd.Series[float]") -> "Stat":
        """Mean and spread of at least one value."""
        return cls(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Result:
    """One row of a result table: an arm at one point of the comparison."""

    selection: str
    ratio: float
    pairs: int
    images: int
    epochs: float
    figures: dict[str, Stat]
    to_random: dict[str, Stat]  # paired by seed, at equal size; empty where there is nothing to compare
    best: frozenset[str]  # metrics in which no other arm that is a method does better


def results(study: Study, table: pd.DataFrame, model: str, point: str) -> list[Result]:
    """Every arm of a model at a point, the full data first, then ratios falling."""
    here = table[(table["model"] == model) & (table["point"] == point)]
    by_arm = {
        arm: here[(here["selection"] == arm[0]) & (here["ratio"] == arm[1])].set_index("seed")
        for arm in [(FULL, 1.0), *study.arms()]
    }
    figures = {arm: {m: Stat.of(rows[m]) for m in METRICS} for arm, rows in by_arm.items()}
    methods = [arm for arm in by_arm if not study.reads_truth(arm[0])]
    best = {}
    for metric in METRICS:
        means = [figures[arm][metric].mean for arm in methods]
        best[metric] = max(means) if metric in HIGHER else min(means)
    out = []
    for arm, rows in by_arm.items():
        name, ratio = arm
        to_random = {}
        if study.baseline is not None and name not in (FULL, study.baseline):
            gaps = rows[list(METRICS)] - by_arm[study.baseline, ratio][list(METRICS)]
            to_random = {metric: Stat.of(gaps[metric]) for metric in METRICS}
        marked = [m for m in METRICS if arm in methods and figures[arm][m].mean == best[m]]
        first = rows.iloc[0]
        sizes = int(first["subset_pairs"]), int(first["images"]), float(first["epochs"])
        out.append(Result(name, ratio, *sizes, figures[arm], to_random, frozenset(marked)))
    return out


def paper_numbers(study: Study, selection: str, ratio: float) -> dict[str, Any] | None:
    """The paper's row for the same method and ratio on LAION-30M with STAR-0.3B: fid, clip, source."""
    method = _paper_method(study, selection)
    rows = pd.read_csv(_PAPER)
    rows = rows[(rows["dataset"] == "LAION-30M") & (rows["model"] == "STAR-0.3B") & (rows["ratio"] == ratio)]
    rows = rows[rows["method"] == method]
    return None if rows.empty else dict(rows.iloc[0][["table", "fid", "clip", "source"]])


def _paper_method(study: Study, selection: str) -> str | None:
    if selection == FULL:
        return "Full"
    settings = study.selections[selection]
    rater = study.raters[settings.rater]
    if settings.sampler == "random":
        return "Random"
    if not isinstance(rater, MetaRater):
        return None
    with_group = rater.group == "product"
    if settings.sampler == "shift_gsample":
        return "Ours" if with_group else "Shift-Gsample" if rater.group == "none" else None
    return {"topk": "TopK", "gsample": "Gsample"}.get(settings.sampler) if with_group else None


def summary(study: Study, table: pd.DataFrame) -> dict[str, float]:
    """At most six figures for `dvc exp show`: FD and NLL at equal epochs, first model, largest ratio.

    `full` is the full data, `rnd` the random subset, `alc` Shift-Gsample on the meta-trained rating;
    `ratio` is the share that the last two keep. Means over seeds. The keys do not depend on the grid, so
    that experiments stand in one column.
    """
    ratio = max(study.grid.ratios)
    rows = {
        (r.selection, r.ratio): r.figures for r in results(study, table, study.grid.models[0], "equal_epochs")
    }
    arms = {"full": (FULL, 1.0)}
    for short, name in (("rnd", study.baseline), ("alc", study.headline)):
        if name is not None:
            arms[short] = (name, ratio)
    digits = {"fd": 1, "nll": 4}
    return {"ratio": ratio} | {
        f"{metric}_{short}": round(rows[arm][metric].mean, places)
        for metric, places in digits.items()
        for short, arm in arms.items()
    }
